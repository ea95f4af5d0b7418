/** Weights of the base that train along with a method's own tensors, by PEFT's `bias` and `modules_to_save` and under its names. */
import { z } from "zod";
import { didYouMean, FedtuneError } from "../../core/base/errors.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { LinearModule } from "../architectures/sites.ts";
import type { BoundAdapter } from "./adapter.ts";
import { PEFT_PREFIX } from "./peft-config.ts";
import { baseWeights, replaceWeights } from "./replaced-weights.ts";
import type { BaseWeight, ReplacedWeights, TrainedWeight } from "./replaced-weights.ts";

export const savedWeightFields = {
  bias: z.enum(["none", "all", "lora_only"]).default("none").describe("biases of the base that train too: all of them, or those of the target modules"),
  modules_to_save: z.array(z.string().min(1)).default([]).describe("modules that train whole, by the end of their paths (lm_head, embed_tokens); of two that are tied only the named one changes"),
};

export type SavedWeightSettings = z.infer<z.ZodObject<typeof savedWeightFields>>;

/** Whether PEFT takes a module for one of those that train whole, or inside of one: no other change is made there. */
export function isInSavedModule(path: string, modulesToSave: readonly string[]): boolean {
  return modulesToSave.some((name) => `.${path}.`.includes(`.${name}.`));
}

/** Weights by their names in the model, those that share another's tensor included. */
function everyWeight(model: ArchitectureModel): readonly BaseWeight[] {
  const own = baseWeights(model);
  const alias = ([name, shared]: readonly [string, string]): BaseWeight[] => own.filter((w) => w.name === shared).map(({ shape }) => ({ name, shape }));
  return [...own, ...[...model.tied].flatMap(alias)];
}

/** The paths of the modules that a weight lies in, outermost first. */
function modulesAround(weight: string): readonly string[] {
  const parts = weight.split(".");
  return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join("."));
}

/** The path of the module to save that a weight lies in. */
function savedModuleOf(weight: string, modulesToSave: readonly string[]): string | undefined {
  return modulesAround(weight).find((path) => modulesToSave.some((name) => path.endsWith(name)));
}

function refuseUnknown(modulesToSave: readonly string[], weights: readonly BaseWeight[]): void {
  const names = [...new Set(weights.flatMap(({ name }) => modulesAround(name).map((path) => path.split(".").at(-1) ?? path)))].filter((name) => !/^\d+$/.test(name));
  for (const name of modulesToSave) {
    if (weights.some((w) => savedModuleOf(w.name, [name]) !== undefined)) continue;
    throw new FedtuneError("config", { where: "adapter.modules_to_save", expected: `modules that the model has (${names.join(", ")})`, got: `\`${name}\`, which matches none`, remedy: didYouMean(name, names) });
  }
}

export interface SavedWeights extends ReplacedWeights {
  /** Names under which PEFT repeats some of them; they are not read. */
  readonly baseCopies: BoundAdapter["baseCopies"];
}

/**
 * The weights that train by PEFT's rules: a module that is named twice over (the output embedding tied to the input one)
 * changes only where it is named. Throws FedtuneError("config") for a module that the model lacks, or that is a target as well.
 */
export function savedWeights(model: ArchitectureModel, { bias, modules_to_save: modules }: SavedWeightSettings, targets: readonly LinearModule[]): SavedWeights {
  const weights = everyWeight(model);
  refuseUnknown(modules, weights);
  const both = targets.find(({ weight }) => savedModuleOf(weight, modules) !== undefined);
  if (both !== undefined) throw new FedtuneError("config", { where: "adapter.modules_to_save", expected: "modules other than the targets", got: `${both.path}, which is both`, remedy: "Name the module in full, or take it from target_modules" });
  const targetOf = new Map(targets.flatMap((l) => (l.bias === undefined ? [] : [[l.bias, l.path]])));
  const saved = weights.filter(({ name }) => savedModuleOf(name, modules) !== undefined);
  const others = weights.filter((w) => !saved.includes(w));
  const biases = others.filter(({ name }) => name.endsWith(".bias") && (bias === "all" || (bias === "lora_only" && targetOf.has(name))));
  const biasName = (name: string): string => (targetOf.has(name) ? `${targetOf.get(name) ?? ""}.base_layer.bias` : name);
  const trained: readonly TrainedWeight[] = [
    ...biases.map((w) => ({ ...w, parameter: PEFT_PREFIX + biasName(w.name) })),
    ...saved.map((w) => ({ ...w, parameter: PEFT_PREFIX + w.name })),
  ];
  const copies = bias !== "all" ? [] : saved.filter(({ name }) => name.endsWith(".bias")).flatMap(({ name, shape }) => {
    const path = savedModuleOf(name, modules) ?? "";
    return ["original_module", "modules_to_save"].map((copy) => ({ name: `${PEFT_PREFIX}${path}.${copy}${name.slice(path.length)}`, shape }));
  });
  return { ...replaceWeights(model, trained, { tied: false }), baseCopies: copies };
}
