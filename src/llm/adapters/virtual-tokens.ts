/** What the methods of virtual tokens share: how many there are, whether they fit, and the fields that PEFT writes for all of them. */
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { commonFields, type BoundAdapter } from "./adapter.ts";

/** Name under which PEFT saves what inference needs of every method of virtual tokens. */
export const PROMPT_EMBEDDINGS = "prompt_embeddings";

export const virtualTokenFields = {
  num_virtual_tokens: z.int().positive().default(20).describe("virtual tokens in front of every example"),
  ...commonFields,
};

/** Fields of the methods that train an encoder. */
export const encoderFields = {
  encoder_hidden_size: z.int().positive().optional().describe("width of the encoder's hidden layers; default: as wide as what it gives, a token's embedding or one layer's keys"),
  encoder: z.enum(["shared", "local"]).default("shared").describe("shared: clients exchange the encoder; local: each starts one anew and only what inference needs travels"),
};

/** Throws FedtuneError("config") where the virtual tokens leave no room for others. */
export function requireRoom(count: number, { maxPositions }: ArchitectureModel): void {
  if (count < maxPositions) return;
  throw new FedtuneError("config", { where: "adapter.num_virtual_tokens", expected: `fewer than the model's ${maxPositions} positions`, got: String(count), remedy: "Lower it, to leave room for text" });
}

/** A bound adapter of which nothing is set but that it cannot be merged. */
export const EMPTY_ADAPTER = {
  parameters: [], frozen: [], virtualTokens: 0, prefixTokens: 0, dropout: 0, changesHead: false, factorPairs: [], baseCopies: [],
  attach: () => ({}),
  merge: { none: "one whose virtual tokens are no part of any weight" },
} as const satisfies BoundAdapter;

/** What PEFT requires of every adapter of virtual tokens; a model with an encoder of texts would have two submodules. */
export const SUBMODULES = { num_transformer_submodules: 1 } as const;

/** The fields that PEFT writes for every method of virtual tokens. */
export function virtualTokenPeftFields(count: number, { layers }: ArchitectureModel, { width, heads }: { readonly width: number; readonly heads: number }): Readonly<Record<string, unknown>> {
  return { ...SUBMODULES, num_virtual_tokens: count, num_layers: layers, token_dim: width, num_attention_heads: heads };
}
