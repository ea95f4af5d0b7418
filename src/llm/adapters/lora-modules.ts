/**
 * What LoRA (Hu et al. 2021) and the methods built on it share: settings, modules with rank and scaling, the factors A `[r, in]`
 * and B `[out, r]` with their starts, and how biases and modules that train whole go along.
 */
import { z } from "zod";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { LinearModule } from "../architectures/sites.ts";
import { commonFields, type AdapterTensors, type BoundAdapter, type ParameterSpec } from "./adapter.ts";
import { PEFT_PREFIX } from "./peft-config.ts";
import { savedWeightFields, savedWeights, type SavedWeights } from "./saved-weights.ts";
import { selectionFields, selectModules } from "./selected-modules.ts";
import { constantStart, normalStart, uniformStart } from "./starts.ts";
import { patternValue } from "./targets.ts";

/** Fields that LoRA shares with the methods built on it. */
export const loraFields = {
  r: z.int().positive().default(8).describe("rank"),
  lora_alpha: z.number().positive().default(16).describe("scaling numerator: the update is scaled by lora_alpha / r"),
  lora_dropout: z.number().min(0).max(0.99).default(0).describe("dropout on the input of the A matrix"),
  ...selectionFields,
  use_rslora: z.boolean().default(false).describe("scale by lora_alpha / sqrt(r) instead (Kalajdzievski 2023)"),
  rank_pattern: z.record(z.string(), z.int().positive()).default({}).describe("rank by module name or pattern, where it differs from r"),
  alpha_pattern: z.record(z.string(), z.number().positive()).default({}).describe("lora_alpha by module name or pattern, where it differs"),
  ...savedWeightFields,
  ...commonFields,
};

/** What LoRA's settings and those built on it have in common. */
export type SharedLoraSettings = z.infer<z.ZodObject<typeof loraFields>>;

export interface LoraModule {
  readonly linear: LinearModule;
  readonly r: number;
  readonly scaling: number;
  /** Names of its tensors. */
  readonly a: string;
  readonly b: string;
}

/** The modules that settings name, with what trains beside their factors. */
export interface LoraModules {
  readonly list: readonly LoraModule[];
  readonly byPath: ReadonlyMap<string, LoraModule>;
  readonly byWeight: ReadonlyMap<string, LoraModule>;
  /** Biases, and modules that train whole. */
  readonly saved: SavedWeights;
}

/** The modules that the settings mean. Throws FedtuneError("config") where they do not fit the model. */
export function loraModules(settings: SharedLoraSettings, model: ArchitectureModel): LoraModules {
  const linears = selectModules(settings, model, "lowRank");
  const list = linears.map((linear): LoraModule => {
    const r = patternValue(settings.rank_pattern, linear.path, "rank_pattern") ?? settings.r;
    const alpha = patternValue(settings.alpha_pattern, linear.path, "alpha_pattern") ?? settings.lora_alpha;
    const scaling = alpha / (settings.use_rslora ? Math.sqrt(r) : r);
    return { linear, r, scaling, a: `${PEFT_PREFIX}${linear.path}.lora_A.weight`, b: `${PEFT_PREFIX}${linear.path}.lora_B.weight` };
  });
  return { list, byPath: new Map(list.map((m) => [m.linear.path, m])), byWeight: new Map(list.map((m) => [m.linear.weight, m])), saved: savedWeights(model, settings, linears) };
}

/** Shapes of a module's factors. */
export function factorShapes({ linear, r }: LoraModule): { readonly a: readonly number[]; readonly b: readonly number[] } {
  return { a: [r, linear.inFeatures], b: [linear.outFeatures, r] };
}

/** A at random and B zero, so that the model starts as its base. PyTorch's default for a linear layer (Kaiming, a = √5) is uniform within 1/√in. */
export function randomFactors(module: LoraModule, start: "uniform" | "gaussian"): readonly ParameterSpec[] {
  const { a, b } = factorShapes(module);
  const drawn = start === "gaussian" ? normalStart(a, 1 / module.r) : uniformStart(a, 1 / Math.sqrt(module.linear.inFeatures));
  return [{ name: module.a, shape: a, start: drawn }, { name: module.b, shape: b, start: constantStart(b, 0) }];
}

/** s · B A x `[C, N, out]` of x `[C, N, in]`. */
export function loraDelta(x: Value, { a, b, scaling }: LoraModule, tensors: AdapterTensors): Value {
  const low = g.matMul(x, tensors.parameter(a), { transB: true, alpha: scaling }); // [C, N, r]
  return g.matMul(low, tensors.parameter(b), { transB: true });
}

/** What is true of every method that is built on these modules. */
export function sharedParts({ list, saved }: LoraModules, { lora_dropout }: SharedLoraSettings) {
  const heads = list.filter((m) => m.linear.isHead);
  return {
    virtualTokens: 0, prefixTokens: 0, dropout: lora_dropout,
    changesHead: heads.length > 0 || saved.changesHead,
    factorPairs: list.map(({ a, b, scaling }) => ({ a, b, scaling })),
    baseCopies: [...heads.map(({ linear }) => ({ name: `${PEFT_PREFIX}${linear.path}.base_layer.weight`, shape: [linear.outFeatures, linear.inFeatures] })), ...saved.baseCopies],
  } satisfies Partial<BoundAdapter>;
}
