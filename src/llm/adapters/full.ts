/** Full fine-tuning: the base's own tensors train, all or some of them. What is tied trains once. */
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { commonFields, type AdapterMethod, type BoundAdapter } from "./adapter.ts";
import { ownFormat } from "./own-format.ts";
import { baseWeights, replaceWeights } from "./replaced-weights.ts";
import { matchWeights } from "./weight-patterns.ts";

const pattern = z.union([z.string(), z.array(z.string()).min(1)]);

const schema = z.strictObject({
  method: z.literal("full").describe("adapter method"),
  train: pattern.optional().describe("which tensors train: names of modules or tensors (a module means all within it), or a regular expression that matches whole paths; left out: all"),
  freeze: pattern.optional().describe("which of those stay as they are, by the same rules; freeze goes before train"),
  ...commonFields,
});
type FullSettings = z.infer<typeof schema>;

function bindFull({ train, freeze }: FullSettings, model: ArchitectureModel): BoundAdapter {
  const all = baseWeights(model);
  const wanted = train === undefined ? undefined : matchWeights(train, all, { model, field: "train" });
  const frozen = freeze === undefined ? undefined : matchWeights(freeze, all, { model, field: "freeze" });
  const trained = all.filter(({ name }) => (wanted?.has(name) ?? true) && frozen?.has(name) !== true);
  if (trained.length === 0) throw new FedtuneError("config", { where: "adapter.freeze", expected: "something left to train", got: "all of what adapter.train names", remedy: "Freeze less, or train more" });
  const replaced = replaceWeights(model, trained.map((w) => ({ ...w, parameter: w.name })), { tied: true });
  return {
    parameters: replaced.parameters, frozen: [], virtualTokens: 0, prefixTokens: 0, dropout: 0, factorPairs: [], baseCopies: [], changesHead: replaced.changesHead, keepsTies: true, merge: replaced.merge,
    unmerge: { none: "tensors that stand in place of the base's, which the merged model no longer holds" },
    attach: (tensors) => ({ weight: replaced.hook(tensors) }),
  };
}

export const full: AdapterMethod<FullSettings> = { schema, bind: bindFull, peft: ownFormat("full", schema) };
