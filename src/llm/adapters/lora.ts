/**
 * LoRA (Hu et al. 2021, eq. 3): h = W x + s · B A x, with A `[r, in]`, B `[out, r]` and s = lora_alpha / r, or
 * lora_alpha / √r with `use_rslora` (Kalajdzievski 2023, eq. 4).
 */
import { z } from "zod";
import * as g from "../../engine/graph/operations.ts";
import type { ArchitectureModel, LinearModule, Site } from "../architectures/architecture.ts";
import { commonFields, type AdapterMethod, type AdapterTensors, type BoundAdapter } from "./adapter.ts";
import { weightChange, withBias } from "./linear-change.ts";
import { PEFT_PREFIX } from "./peft-config.ts";
import { constantStart, uniformStart } from "./starts.ts";
import { patternValue, resolveTargets, targetsOr } from "./targets.ts";

/** Fields that LoRA shares with the methods built on it. */
export const loraFields = {
  r: z.int().positive().default(8).describe("rank"),
  lora_alpha: z.number().positive().default(16).describe("scaling numerator: the update is scaled by lora_alpha / r"),
  lora_dropout: z.number().min(0).max(0.99).default(0).describe("dropout on the input of the A matrix"),
  target_modules: z
    .union([z.string(), z.array(z.string()).min(1)])
    .optional()
    .describe("module names, the word all-linear, or a regular expression that matches whole module paths; left out: the attention's query and value projections"),
  use_rslora: z.boolean().default(false).describe("scale by lora_alpha / sqrt(r) instead (Kalajdzievski 2023)"),
  rank_pattern: z.record(z.string(), z.int().positive()).default({}).describe("rank by module name or pattern, where it differs from r"),
  alpha_pattern: z.record(z.string(), z.number().positive()).default({}).describe("lora_alpha by module name or pattern, where it differs"),
  ...commonFields,
};

const schema = z.strictObject({ method: z.literal("lora").default("lora").describe("adapter method"), ...loraFields });
type LoraSettings = z.infer<typeof schema>;

interface LoraModule {
  readonly linear: LinearModule;
  readonly r: number;
  readonly scaling: number;
  readonly a: string;
  readonly b: string;
}

/** The modules that the settings name, with rank and scaling of each. Throws FedtuneError("config") where they match nothing. */
function loraModules(settings: Omit<LoraSettings, "method">, model: ArchitectureModel): ReadonlyMap<string, LoraModule> {
  return new Map(resolveTargets(targetsOr(settings.target_modules, model, "lowRank"), model.linears).map((linear) => {
    const r = patternValue(settings.rank_pattern, linear.path, "rank_pattern") ?? settings.r;
    const alpha = patternValue(settings.alpha_pattern, linear.path, "alpha_pattern") ?? settings.lora_alpha;
    const scaling = alpha / (settings.use_rslora ? Math.sqrt(r) : r);
    return [linear.path, { linear, r, scaling, a: `${PEFT_PREFIX}${linear.path}.lora_A.weight`, b: `${PEFT_PREFIX}${linear.path}.lora_B.weight` }];
  }));
}

/** s · B A x `[C, N, out]`. */
function loraDelta({ path, input }: Site, { a, b, scaling }: LoraModule, tensors: AdapterTensors) {
  const low = g.matMul(tensors.dropout(path, input), tensors.parameter(a), { transB: true, alpha: scaling }); // [C, N, r]
  return g.matMul(low, tensors.parameter(b), { transB: true });
}

function bindLora(settings: LoraSettings, model: ArchitectureModel): BoundAdapter {
  const modules = loraModules(settings, model);
  const list = [...modules.values()];
  const byWeight = new Map(list.map((m) => [m.linear.weight, m]));
  return {
    parameters: list.flatMap(({ linear, r, a, b }) => [
      // PyTorch's default for a linear layer (Kaiming with a = √5) is uniform within 1/√in.
      { name: a, shape: [r, linear.inFeatures], start: uniformStart([r, linear.inFeatures], 1 / Math.sqrt(linear.inFeatures)) },
      { name: b, shape: [linear.outFeatures, r], start: constantStart([linear.outFeatures, r], 0) },
    ]),
    frozen: [], virtualTokens: 0, prefixTokens: 0, dropout: settings.lora_dropout,
    changesHead: list.some((m) => m.linear.isHead),
    factorPairs: list.map(({ a, b, scaling }) => ({ a, b, scaling })),
    baseCopies: list.filter((m) => m.linear.isHead).map(({ linear }) => ({ name: `${PEFT_PREFIX}${linear.path}.base_layer.weight`, shape: [linear.outFeatures, linear.inFeatures] })),
    attach: (tensors) => ({
      linearOutput(site) {
        const module = modules.get(site.path);
        return module === undefined ? undefined : g.add(withBias(site), loraDelta(site, module, tensors));
      },
    }),
    merge({ name, base, values }) {
      const module = byWeight.get(name);
      if (module === undefined) return undefined;
      const change = weightChange(module.linear, { a: values(module.a), b: values(module.b), r: module.r, scaling: module.scaling });
      return change.map((x, i) => x + (base[i] ?? 0));
    },
  };
}

/** What PEFT 0.21 writes for a plain LoRA; a field that a file sets otherwise is one that fedtune does not have. */
const PEFT_DEFAULTS = {
  alora_invocation_tokens: null, arrow_config: null, bias: "none", corda_config: null, ensure_weight_tying: false, eva_config: null,
  exclude_modules: null, fan_in_fan_out: false, init_lora_weights: true, kasa_config: null, layer_replication: null, layers_pattern: null,
  layers_to_transform: null, loftq_config: {}, lora_bias: false, lora_ga_config: null, megatron_config: null, megatron_core: "megatron.core",
  monteclora_config: null, qalora_group_size: 16, target_parameters: null,
  trainable_token_indices: null, use_bdlora: null, use_dora: false, use_qalora: false, velora_config: null,
} as const;

/** Fields whose value does not change what the adapter computes when it is applied. */
const WITHOUT_EFFECT = ["init_lora_weights", "megatron_core", "qalora_group_size", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "ensure_weight_tying", "layers_pattern", "fan_in_fan_out"];

const peftSchema = z.looseObject({
  r: z.int().positive(),
  lora_alpha: z.number().positive(),
  lora_dropout: z.number().min(0).max(1).default(0),
  target_modules: z.union([z.string(), z.array(z.string())]),
  use_rslora: z.boolean().default(false),
  rank_pattern: z.record(z.string(), z.int().positive()).nullish(),
  alpha_pattern: z.record(z.string(), z.number().positive()).nullish(),
});

export const lora: AdapterMethod<LoraSettings> = {
  schema,
  bind: bindLora,
  peft: {
    type: "LORA",
    write({ r, lora_alpha, lora_dropout, target_modules: given, use_rslora, rank_pattern, alpha_pattern }, model) {
      const target_modules = targetsOr(given, model, "lowRank");
      const transposed = resolveTargets(target_modules, model.linears).some((l) => l.layout === "in_out");
      return { ...PEFT_DEFAULTS, fan_in_fan_out: transposed, alpha_pattern, lora_alpha, lora_dropout, r, rank_pattern, target_modules, use_rslora };
    },
    read(fields) {
      if (fields.get("use_dora") === true) return undefined;
      const { r, lora_alpha, lora_dropout, target_modules, use_rslora, rank_pattern, alpha_pattern } = fields.parse(peftSchema);
      fields.refuseOthers(PEFT_DEFAULTS, WITHOUT_EFFECT);
      return schema.parse({ r, lora_alpha, lora_dropout: Math.min(lora_dropout, 0.99), target_modules, use_rslora, rank_pattern: rank_pattern ?? {}, alpha_pattern: alpha_pattern ?? {} });
    },
  },
};
