/**
 * What decoders of the Llama family have in common: fields of their configs, the modules of a layer's attention and gated
 * feed-forward, and which layers look back through a window. How a layer is put together is left to each architecture.
 */
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import { count } from "./config.ts";
import type { ForwardPass } from "./forward-pass.ts";
import type { ModuleList } from "./modules.ts";
import { rotaryFields, rotaryFrequencies, type RotaryConfig, type RotaryFrequencies } from "./rotary.ts";

/** Fields whose names and defaults are the same in the configs of the whole family. */
export const decoderFields = {
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  head_dim: count.nullish(),
  rms_norm_eps: z.number().positive().default(1e-6),
  hidden_act: z.literal("silu").default("silu"),
  ...rotaryFields,
};

export interface DecoderSizes {
  readonly hiddenSize: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headWidth: number;
}

export interface AttentionBiases {
  /** Of q, k and v. Default: none. */
  readonly inputs?: boolean;
  /** Of o. Default: none. */
  readonly output?: boolean;
}

/** `q_proj`, `k_proj` and `v_proj`, one product in the prepared base, and `o_proj`. */
export function addAttention(modules: ModuleList, path: string, { sizes: { hiddenSize, heads, keyValueHeads, headWidth }, bias = {} }: { readonly sizes: DecoderSizes; readonly bias?: AttentionBiases }): void {
  const [queryWidth, keyWidth] = [heads * headWidth, keyValueHeads * headWidth];
  modules.linear([
    { path: `${path}.q_proj`, inFeatures: hiddenSize, outFeatures: queryWidth },
    { path: `${path}.k_proj`, inFeatures: hiddenSize, outFeatures: keyWidth },
    { path: `${path}.v_proj`, inFeatures: hiddenSize, outFeatures: keyWidth },
  ], { joined: `${path}.qkv_proj`, bias: bias.inputs ?? false });
  modules.linear({ path: `${path}.o_proj`, inFeatures: queryWidth, outFeatures: hiddenSize }, { bias: bias.output ?? false });
}

/** Queries `[C, N, H·E]`, keys and values `[C, N, K·E]` of the input `[C, N, D]`. */
export function attentionStates(pass: ForwardPass, path: string, x: Value): { readonly q: Value; readonly k: Value; readonly v: Value } {
  const [q = x, k = x, v = x] = pass.linears([`${path}.q_proj`, `${path}.k_proj`, `${path}.v_proj`], x);
  return { q, k, v };
}

/** `gate_proj`, `up_proj` and `down_proj`: the first two stay two products, as cutting a wide one and joining its gradients costs more (LOG.md). */
export function addGatedMlp(modules: ModuleList, path: string, { hiddenSize: d, intermediateSize: f, bias = false }: { readonly hiddenSize: number; readonly intermediateSize: number; readonly bias?: boolean }): void {
  for (const name of ["gate_proj", "up_proj"]) modules.linear({ path: `${path}.${name}`, inFeatures: d, outFeatures: f }, { bias });
  modules.linear({ path: `${path}.down_proj`, inFeatures: f, outFeatures: d }, { bias });
}

/** down(activation(gate(x)) · up(x)) `[C, N, D]` (Shazeer 2020, eq. 6); the activation is SiLU unless it is given. */
export function gatedMlp(pass: ForwardPass, path: string, x: Value, { activation = g.silu }: { readonly activation?: (x: Value) => Value } = {}): Value {
  const [gate = x, up = x] = pass.linears([`${path}.gate_proj`, `${path}.up_proj`], x);
  return pass.linear(`${path}.down_proj`, g.mul(activation(gate), up));
}

/** Frequencies where whole heads rotate. Throws FedtuneError("model") for a config that wants only a share of each to. */
export function wholeHeadRotary(config: RotaryConfig, headWidth: number, where: string): RotaryFrequencies {
  const rotary = rotaryFrequencies(config, headWidth, where);
  if (rotary.frequencies.length * 2 === headWidth) return rotary;
  throw new FedtuneError("model", { where: `${where}: partial_rotary_factor`, expected: "1, since heads of this architecture rotate whole", got: String((2 * rotary.frequencies.length) / headWidth) });
}

/** How configs say which layers look back through a window. */
export const windowFields = {
  sliding_window: count.nullish(),
  layer_types: z.array(z.enum(["full_attention", "sliding_attention"])).nullish(),
};

interface WindowConfig {
  readonly num_hidden_layers: number;
  readonly sliding_window?: number | null | undefined;
  readonly layer_types?: readonly ("full_attention" | "sliding_attention")[] | null | undefined;
}

/**
 * For each layer, how many tokens each token looks back upon, itself included; undefined: all. Without `layer_types`,
 * `slides` says which layers have a window where there is one.
 * Throws FedtuneError("model") where `layer_types` is too short or too long, or wants a window that there is none of.
 */
export function layerWindows({ num_hidden_layers: layers, sliding_window: window, layer_types: types }: WindowConfig, slides: (layer: number) => boolean, where: string): readonly (number | undefined)[] {
  if (types != null && types.length !== layers) throw new FedtuneError("model", { where: `${where}: layer_types`, expected: `one entry for each of ${layers} layers`, got: `${types.length} entries` });
  if (types?.includes("sliding_attention") === true && window == null) {
    throw new FedtuneError("model", { where: `${where}: sliding_window`, expected: "a number of tokens that is in use, since layer_types names sliding_attention", got: "none" });
  }
  return Array.from({ length: layers }, (_, i) => ((types == null ? slides(i) : types[i] === "sliding_attention") ? (window ?? undefined) : undefined));
}
