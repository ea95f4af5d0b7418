/**
 * AdaLoRA (Zhang et al. 2023): W + P Λ Q (eq. 3), a low-rank change in the form of a singular value decomposition,
 * here B diag(E) A with PEFT's names, kept near one by a penalty on P and Q that are not orthogonal (eq. 4), so that
 * ranks can be taken from modules that need them least (rank-allocation.ts). As PEFT computes them, the change is
 * scaled by lora_alpha / (init_r + 1e-5), and the penalty is the mean of ‖AAᵀ − I‖ and ‖BᵀB − I‖ over all modules
 * times orth_reg_weight, where the paper sums squares.
 */
import { z } from "zod";
import { FedtuneError, must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { NamedTensors, Tensor } from "../../core/base/tensor.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { LinearModule, Site } from "../architectures/sites.ts";
import { commonFields, type AdapterMethod, type AdapterTensors, type BoundAdapter, type MergeInput } from "./adapter.ts";
import { weightChange, withBias } from "./linear-change.ts";
import { PEFT_PREFIX } from "./peft-config.ts";
import { allocateRanks, type TripletModule } from "./rank-allocation.ts";
import { savedWeightFields, savedWeights } from "./saved-weights.ts";
import { selectionFields, selectModules } from "./selected-modules.ts";
import { constantStart, normalStart } from "./starts.ts";
import { targetsOr } from "./targets.ts";

const schema = z.strictObject({
  method: z.literal("adalora").describe("adapter method"),
  target_r: z.int().positive().default(8).describe("average rank of a module once the budget is final"),
  init_r: z.int().positive().default(12).describe("rank of every module at the start"),
  tinit: z.int().nonnegative().default(0).describe("steps before ranks begin to fall"),
  tfinal: z.int().nonnegative().default(0).describe("steps after ranks have fallen"),
  deltaT: z.int().positive().default(1).describe("steps between two allocations of ranks"),
  beta1: z.number().gt(0).lt(1).default(0.85).describe("weight of the past in a value's smoothed sensitivity; scores start anew in each round unless training.moments is carry"),
  beta2: z.number().gt(0).lt(1).default(0.85).describe("weight of the past in a value's uncertainty"),
  orth_reg_weight: z.number().nonnegative().default(0.5).describe("weight of the penalty on singular vectors that are not orthogonal"),
  total_step: z.int().positive().optional().describe("length of the schedule of ranks in steps; left out: all steps of the client's schedule, over all rounds"),
  rank_pattern: z.record(z.string(), z.array(z.boolean())).optional().describe("which of the init_r ranks a module has, by the name of its lora_E, as a saved adapter says; left out: all"),
  lora_alpha: z.number().positive().default(8).describe("scaling numerator: the update is scaled by lora_alpha / init_r, whatever ranks remain"),
  lora_dropout: z.number().min(0).max(0.99).default(0).describe("dropout on the input of the A matrix"),
  ...selectionFields,
  modules_to_save: savedWeightFields.modules_to_save,
  ...commonFields,
});
type AdaloraSettings = z.infer<typeof schema>;
type RankPattern = NonNullable<AdaloraSettings["rank_pattern"]>;

/** Added to the rank that the scaling divides by. */
const RANK_EPSILON = 1e-5;
/** PyTorch's standard deviation of new singular vectors. */
const VECTOR_DEVIATION = 0.02;
/** The square of the smallest norm that has a slope. */
const SMALLEST_SQUARE = 1e-30;

interface AdaloraModule extends TripletModule {
  readonly linear: LinearModule;
}

function checkSettings({ target_r, init_r, tinit, tfinal, total_step }: AdaloraSettings): void {
  if (target_r > init_r) throw new FedtuneError("config", { where: "adapter.target_r", expected: `at most init_r (${init_r})`, got: String(target_r), remedy: "Ranks only fall: raise init_r" });
  if (total_step !== undefined && tinit + tfinal >= total_step) {
    throw new FedtuneError("config", { where: "adapter.total_step", expected: `more than tinit + tfinal (${tinit + tfinal}), so that there are steps in which ranks fall`, got: String(total_step), remedy: "Lower tinit or tfinal, or leave total_step out" });
  }
}

/** The name under which PEFT's rank_pattern holds a module. */
const patternKey = (path: string): string => `${path}.lora_E`;

/** The modules that the settings name, with the rank of each. Throws FedtuneError("config") where they do not fit the model. */
function adaloraModules(settings: AdaloraSettings, model: ArchitectureModel): readonly AdaloraModule[] {
  const { init_r, rank_pattern = {} } = settings;
  checkSettings(settings);
  const linears = selectModules(settings, model, "lowRank");
  for (const [key, kept] of Object.entries(rank_pattern)) {
    const where = `adapter.rank_pattern.${key}`;
    if (!linears.some(({ path }) => patternKey(path) === key)) throw new FedtuneError("config", { where, expected: `the lora_E of an adapted module (${patternKey(linears[0]?.path ?? "")}, …)`, got: "a name that is none" });
    if (kept.length !== init_r) throw new FedtuneError("config", { where, expected: `init_r (${init_r}) truth values`, got: String(kept.length) });
  }
  return linears.map((linear) => {
    const { path, inFeatures, outFeatures } = linear;
    const rank = rank_pattern[patternKey(path)]?.filter(Boolean).length ?? init_r;
    const name = (part: string): string => `${PEFT_PREFIX}${path}.lora_${part}`;
    return { linear, rank, inFeatures, outFeatures, a: name("A"), e: name("E"), b: name("B") };
  });
}

/** scaling · B diag(E) A x `[C, N, out]`. */
function adaloraDelta({ path, input }: Site, { a, e, b, rank }: AdaloraModule, tensors: AdapterTensors, scaling: number): Value {
  const values = tensors.parameter(e); // [C, r, 1]
  const low = g.matMul(tensors.dropout(path, input), tensors.parameter(a), { transB: true, alpha: scaling }); // [C, N, r]
  return g.matMul(g.mul(low, g.reshape(values, [values.shape[0] ?? 1, 1, rank])), tensors.parameter(b), { transB: true });
}

/** ‖GGᵀ − I‖ of rows G, or ‖GᵀG − I‖ of columns, `[C]`. */
function distanceFromOrthogonal(vectors: Value, rank: number, along: "rows" | "columns"): Value {
  const gram = along === "rows" ? g.matMul(vectors, vectors, { transB: true }) : g.matMul(vectors, vectors, { transA: true }); // [C, r, r]
  const identity = vectors.builder.constant(tensor("float32", [rank, rank], Float32Array.from({ length: rank * rank }, (_, i) => Number(i % (rank + 1) === 0))));
  const off = g.sub(gram, identity);
  const square = g.reshape(g.reduceSum(g.mul(off, off), [1, 2]), [gram.shape[0] ?? 1]);
  // A norm of 0 has no slope; PyTorch takes 0 there.
  return g.sqrt(g.max(square, SMALLEST_SQUARE));
}

/** The penalty `[C]` on a client's mean loss. A module without ranks counts with a norm of 0, as in PEFT. */
function orthogonalityPenalty(modules: readonly AdaloraModule[], weight: number): ((tensors: AdapterTensors) => Value) | undefined {
  const ranked = modules.filter((m) => m.rank > 0);
  if (weight === 0 || ranked.length === 0) return undefined;
  return (tensors) => {
    const norms = ranked.flatMap(({ a, b, rank }) => [distanceFromOrthogonal(tensors.parameter(a), rank, "rows"), distanceFromOrthogonal(tensors.parameter(b), rank, "columns")]);
    return g.mul(norms.reduce((sum, norm) => g.add(sum, norm)), weight / (2 * modules.length));
  };
}

function bindAdalora(settings: AdaloraSettings, model: ArchitectureModel): BoundAdapter {
  const list = adaloraModules(settings, model);
  const modules = new Map(list.map((m) => [m.linear.path, m]));
  const byWeight = new Map(list.map((m) => [m.linear.weight, m]));
  const scaling = settings.lora_alpha / (settings.init_r + RANK_EPSILON);
  const penalty = orthogonalityPenalty(list, settings.orth_reg_weight);
  const saved = savedWeights(model, { bias: "none", modules_to_save: settings.modules_to_save }, list.map((m) => m.linear));
  const heads = list.filter((m) => m.linear.isHead);
  const { tinit, tfinal, deltaT, beta1, beta2, total_step } = settings;

  /** base + sign · scaling · B diag(E) A, in float64. */
  const shifted = (sign: 1 | -1) => ({ name, base, values }: MergeInput): Float64Array | undefined => {
    const module = byWeight.get(name);
    if (module === undefined || module.rank === 0) return undefined;
    const e = values(module.e);
    const b = Float64Array.from(values(module.b), (x, i) => x * (e[i % module.rank] ?? 0));
    return weightChange(module.linear, { a: values(module.a), b, r: module.rank, scaling: sign * scaling }).map((x, i) => (base[i] ?? 0) + x);
  };

  return {
    parameters: [
      ...list.flatMap(({ a, e, b, rank, inFeatures, outFeatures }) => [
        { name: a, shape: [rank, inFeatures], start: normalStart([rank, inFeatures], VECTOR_DEVIATION) },
        { name: e, shape: [rank, 1], start: constantStart([rank, 1], 0) },
        { name: b, shape: [outFeatures, rank], start: normalStart([outFeatures, rank], VECTOR_DEVIATION) },
      ]),
      ...saved.parameters,
    ],
    frozen: [], virtualTokens: 0, prefixTokens: 0, dropout: settings.lora_dropout,
    changesHead: heads.length > 0 || saved.changesHead,
    factorPairs: [],
    baseCopies: heads.map(({ linear }) => ({ name: `${PEFT_PREFIX}${linear.path}.base_layer.weight`, shape: [linear.outFeatures, linear.inFeatures] })),
    attach: (tensors) => ({
      weight: saved.hook(tensors),
      linearOutput(site) {
        const module = modules.get(site.path);
        return module === undefined || module.rank === 0 ? undefined : g.add(withBias(site), adaloraDelta(site, module, tensors, scaling));
      },
    }),
    ...(penalty === undefined ? {} : { penalty }),
    control: allocateRanks(list, { targetBudget: settings.target_r * list.length, tinit, tfinal, deltaT, beta1, beta2, total_step }),
    merge: (input) => shifted(1)(input) ?? saved.merge(input),
    unmerge: saved.parameters.length > 0 ? { none: "modules that stand in place of the base's, which the merged model no longer holds" } : shifted(-1),
  };
}

/** The rows of a matrix `[rows, columns]` at some indices, or its columns. */
function pick({ shape: [rows = 0, columns = 0], data }: Tensor<"float32">, kept: readonly number[], axis: 0 | 1): Tensor<"float32"> {
  if (axis === 0) return tensor("float32", [kept.length, columns], Float32Array.from(kept.flatMap((k) => [...data.subarray(k * columns, (k + 1) * columns)])));
  return tensor("float32", [rows, kept.length], Float32Array.from({ length: rows * kept.length }, (_, i) => data[Math.floor(i / kept.length) * columns + (kept[i % kept.length] ?? 0)] ?? 0));
}

/** Leaves out the ranks whose singular value is 0 and says so in rank_pattern, as PEFT saves them. An adapter of zeros alone has not trained yet. */
function dropEmptyRanks(settings: AdaloraSettings, tensors: NamedTensors<"float32">): { readonly settings: AdaloraSettings; readonly tensors: NamedTensors<"float32"> } {
  const values = [...tensors].filter(([name]) => name.endsWith(".lora_E"));
  const all = values.flatMap(([, { data }]) => [...data]);
  if (all.every((x) => x === 0) || all.every((x) => x !== 0)) return { settings, tensors };
  const shown = new Map(tensors);
  const rank_pattern: RankPattern = {};
  for (const [name, { data }] of values) {
    const key = name.slice(PEFT_PREFIX.length);
    const present = settings.rank_pattern?.[key] ?? Array.from(data, () => true);
    let at = 0;
    rank_pattern[key] = present.map((is) => is && data[at++] !== 0);
    const kept = [...data.keys()].filter((k) => data[k] !== 0);
    for (const [part, axis] of [["lora_A", 0], ["lora_E", 0], ["lora_B", 1]] as const) {
      const own = name.replace(/lora_E$/, part);
      shown.set(own, pick(must(tensors.get(own), own), kept, axis));
    }
  }
  return { settings: { ...settings, rank_pattern }, tensors: shown };
}

/** What PEFT 0.21 writes for a plain AdaLoRA; a field that a file sets otherwise is one that fedtune does not have. */
const PEFT_DEFAULTS = {
  alora_invocation_tokens: null, alpha_pattern: {}, arrow_config: null, bias: "none", corda_config: null, ensure_weight_tying: false, eva_config: null,
  fan_in_fan_out: false, init_lora_weights: true, kasa_config: null, layer_replication: null,
  loftq_config: {}, lora_bias: false, lora_ga_config: null, megatron_config: null, megatron_core: "megatron.core",
  monteclora_config: null, qalora_group_size: 16, r: 8, target_parameters: null, trainable_token_indices: null, use_bdlora: null,
  use_dora: false, use_qalora: false, use_rslora: false, velora_config: null,
} as const;

/** Fields that do not change what the adapter computes when it is applied; PEFT's AdaLoRA does not read r, alpha_pattern and use_rslora. */
const WITHOUT_EFFECT = ["alpha_pattern", "init_lora_weights", "megatron_core", "qalora_group_size", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "ensure_weight_tying", "modules_to_save", "fan_in_fan_out", "r", "use_rslora"];

const { exclude_modules, layers_to_transform, layers_pattern } = selectionFields;
const peftSchema = schema.omit({ method: true, init_from: true }).strip().extend({
  exclude_modules: exclude_modules.nullable(),
  layers_to_transform: layers_to_transform.nullable(),
  layers_pattern: layers_pattern.nullable(),
  lora_dropout: z.number().min(0).max(1).default(0),
  modules_to_save: z.array(z.string()).nullish(),
  rank_pattern: schema.shape.rank_pattern.nullable(),
  target_modules: z.union([z.string(), z.array(z.string()).min(1)]),
  total_step: schema.shape.total_step.nullable(),
});

/** PEFT asks for a total_step that leaves room for an allocation: one step of it stands for "the schedule's own". */
const ownSchedule = ({ tinit, tfinal }: Pick<AdaloraSettings, "tinit" | "tfinal">): number => tinit + tfinal + 1;

export const adalora: AdapterMethod<AdaloraSettings> = {
  schema,
  bind: bindAdalora,
  peft: {
    type: "ADALORA",
    write(settings, model) {
      const { target_r, init_r, tinit, tfinal, deltaT, beta1, beta2, orth_reg_weight, lora_alpha, lora_dropout, modules_to_save } = settings;
      const fan_in_fan_out = selectModules(settings, model, "lowRank").some((l) => l.layout === "in_out");
      return {
        ...PEFT_DEFAULTS, target_r, init_r, tinit, tfinal, deltaT, beta1, beta2, orth_reg_weight, lora_alpha, lora_dropout, fan_in_fan_out,
        target_modules: targetsOr(settings.target_modules, model, "lowRank"), exclude_modules: settings.exclude_modules ?? null,
        layers_to_transform: settings.layers_to_transform ?? null, layers_pattern: settings.layers_pattern ?? null, modules_to_save: modules_to_save.length === 0 ? null : modules_to_save,
        rank_pattern: settings.rank_pattern ?? null, total_step: settings.total_step ?? ownSchedule(settings),
      };
    },
    read(fields) {
      const file = fields.parse(peftSchema);
      fields.refuseOthers(PEFT_DEFAULTS, WITHOUT_EFFECT);
      fields.refuseUnknown([...Object.keys(peftSchema.shape), ...Object.keys(PEFT_DEFAULTS)]);
      const given = Object.entries(file).filter(([field, value]) => value != null && !(field === "total_step" && value === ownSchedule(file)));
      return schema.parse({ method: "adalora", ...Object.fromEntries(given), lora_dropout: Math.min(file.lora_dropout, 0.99) });
    },
    convert: dropEmptyRanks,
  },
};
