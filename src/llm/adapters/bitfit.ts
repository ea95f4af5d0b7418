/** BitFit (Ben Zaken et al. 2022, section 3): the biases that a model has train, those of norms included; all else is frozen. */
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { commonFields, type AdapterMethod, type BoundAdapter } from "./adapter.ts";
import { ownFormat } from "./own-format.ts";
import { replaceWeights } from "./replaced-weights.ts";
import { biasesOf, matchWeights } from "./weight-patterns.ts";

const schema = z.strictObject({
  method: z.literal("bitfit").describe("adapter method"),
  biases: z.union([z.string(), z.array(z.string()).min(1)]).optional().describe("which biases train: names of modules, or a regular expression that matches whole paths; left out: all"),
  ...commonFields,
});
type BitfitSettings = z.infer<typeof schema>;

function bindBitfit({ biases }: BitfitSettings, model: ArchitectureModel): BoundAdapter {
  const all = biasesOf(model);
  if (all.length === 0) {
    throw new FedtuneError("config", { where: "adapter.method", expected: "a model with biases for bitfit to train", got: `a ${model.modelType} model that has none`, remedy: "Take another method: ia3 trains as little, lora more" });
  }
  const chosen = biases === undefined ? undefined : matchWeights(biases, all, { model, field: "biases" });
  const trained = all.filter(({ name }) => chosen?.has(name) ?? true);
  const replaced = replaceWeights(model, trained.map((w) => ({ ...w, parameter: w.name })), { tied: true });
  return {
    parameters: replaced.parameters, frozen: [], virtualTokens: 0, prefixTokens: 0, dropout: 0, factorPairs: [], baseCopies: [], changesHead: replaced.changesHead, merge: replaced.merge,
    unmerge: { none: "biases that stand in place of the base's, which the merged model no longer holds" },
    attach: (tensors) => ({ weight: replaced.hook(tensors) }),
  };
}

export const bitfit: AdapterMethod<BitfitSettings> = { schema, bind: bindBitfit, peft: ownFormat("bitfit", schema) };
