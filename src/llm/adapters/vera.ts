/**
 * VeRA (Kopiczko et al. 2024, eq. 2): h = W x + Λ_b B Λ_d A x. One random pair A `[r, in]`, B `[out, r]` is shared by all
 * modules and frozen; each module trains the diagonals d `[r]` and b `[out]`. As in PEFT, A and B are as large as the
 * widest module needs, and a module takes A's first columns and B's first rows.
 */
import { z } from "zod";
import { randomKey, uniforms } from "../../core/base/random.ts";
import { elementCount } from "../../core/base/tensor.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { LinearModule } from "../architectures/sites.ts";
import { commonFields, type AdapterMethod, type AdapterTensors, type BoundAdapter, type FrozenSpec, type MergeInput } from "./adapter.ts";
import { weightChange, withBias } from "./linear-change.ts";
import { PEFT_PREFIX } from "./peft-config.ts";
import { savedWeightFields, savedWeights } from "./saved-weights.ts";
import { selectionFields, selectModules } from "./selected-modules.ts";
import { constantStart, normalStart } from "./starts.ts";
import { targetsOr } from "./targets.ts";

const { target_modules, layers_to_transform, layers_pattern } = selectionFields;

const schema = z.strictObject({
  method: z.literal("vera").describe("adapter method"),
  r: z.int().positive().default(256).describe("rank of the shared projections; larger than a LoRA's, as only r + out numbers a module train"),
  target_modules, layers_to_transform, layers_pattern,
  projection_prng_key: z.int().nonnegative().default(0).describe("key that the shared projections are drawn from: equal keys and shapes give equal projections, whatever the seed"),
  save_projection: z.literal(true, "expected true: PEFT would draw other projections from the key than fedtune trained with").default(true)
    .describe("save the shared projections with the adapter; always, as no other program draws the same ones from the key"),
  vera_dropout: z.number().min(0).max(0.99).default(0).describe("dropout on the input of the A matrix"),
  d_initial: z.number().default(0.1).describe("what the diagonal d starts from"),
  init_weights: z.boolean().default(true).describe("start from b = 0, so that the model is the base; else from b = 1 and normal draws for d"),
  modules_to_save: savedWeightFields.modules_to_save,
  ...commonFields,
});
type VeraSettings = z.infer<typeof schema>;

const A = "base_model.vera_A";
const B = "base_model.vera_B";

interface VeraModule {
  readonly linear: LinearModule;
  readonly b: string;
  readonly d: string;
}

/** A shared projection: Kaiming's uniform draws (He et al. 2015, eq. 10) within √(6 / columns), from the key and the name alone. */
function projection(name: string, shape: readonly [number, number], prngKey: number): FrozenSpec {
  const bound = Math.sqrt(6 / shape[1]);
  return { name, shape, saved: true, start: () => Float32Array.from(uniforms(randomKey(prngKey, name), [], elementCount(shape)), (u) => (2 * u - 1) * bound) };
}

/** The first `size` along an axis of a shared projection, made once for each size. */
function slicer(whole: Value, axis: 0 | 1): (size: number) => Value {
  const made = new Map<number, Value>();
  const full = Number(whole.shape[axis]);
  return (size) => {
    const known = made.get(size) ?? (size === full ? whole : g.split(whole, axis, [size, full - size])[0]) ?? whole;
    made.set(size, known);
    return known;
  };
}

/** `[C, width]` as a factor of `[C, N, width]`. */
function rowOf(name: string, tensors: AdapterTensors): Value {
  const value = tensors.parameter(name);
  return g.reshape(value, [value.shape[0] ?? 1, 1, value.shape[1] ?? 1]);
}

function bindVera(settings: VeraSettings, model: ArchitectureModel): BoundAdapter {
  const { r, d_initial, init_weights, projection_prng_key: key } = settings;
  const linears = selectModules(settings, model, "lowRank");
  const list = linears.map((linear): VeraModule => ({ linear, b: `${PEFT_PREFIX}${linear.path}.vera_lambda_b`, d: `${PEFT_PREFIX}${linear.path}.vera_lambda_d` }));
  const saved = savedWeights(model, { bias: "none", modules_to_save: settings.modules_to_save }, linears);
  const heads = linears.filter((l) => l.isHead);
  const modules = new Map(list.map((m) => [m.linear.path, m]));
  const byWeight = new Map(list.map((m) => [m.linear.weight, m]));
  const widest = Math.max(...list.map(({ linear }) => linear.inFeatures));
  const tallest = Math.max(...list.map(({ linear }) => linear.outFeatures));

  /** base + sign · Λ_b B Λ_d A, in float64. */
  const shifted = (sign: 1 | -1) => ({ name, base, values }: MergeInput): Float64Array | undefined => {
    const module = byWeight.get(name);
    if (module === undefined) return undefined;
    const { inFeatures, outFeatures } = module.linear;
    const [diagonalB, diagonalD, wholeA, wholeB] = [values(module.b), values(module.d), values(A), values(B)];
    const a = new Float64Array(r * inFeatures).map((_, i) => (diagonalD[Math.floor(i / inFeatures)] ?? 0) * (wholeA[Math.floor(i / inFeatures) * widest + (i % inFeatures)] ?? 0));
    const b = new Float64Array(outFeatures * r).map((_, i) => (diagonalB[Math.floor(i / r)] ?? 0) * (wholeB[i] ?? 0));
    return weightChange(module.linear, { a, b, r, scaling: sign }).map((x, i) => (base[i] ?? 0) + x);
  };

  return {
    parameters: [
      ...list.flatMap(({ linear, b, d }) => [
        { name: b, shape: [linear.outFeatures], start: constantStart([linear.outFeatures], init_weights ? 0 : 1) },
        { name: d, shape: [r], start: init_weights ? constantStart([r], d_initial) : normalStart([r], 1) },
      ]),
      ...saved.parameters,
    ],
    frozen: [projection(A, [r, widest], key), projection(B, [tallest, r], key)],
    virtualTokens: 0, prefixTokens: 0, dropout: settings.vera_dropout,
    changesHead: heads.length > 0 || saved.changesHead,
    factorPairs: [],
    baseCopies: heads.map(({ path, inFeatures, outFeatures }) => ({ name: `${PEFT_PREFIX}${path}.base_layer.weight`, shape: [outFeatures, inFeatures] })),
    attach(tensors) {
      const [columnsOf, rowsOf] = [slicer(tensors.frozen(A), 1), slicer(tensors.frozen(B), 0)];
      return {
        weight: saved.hook(tensors),
        linearOutput(site) {
          const module = modules.get(site.path);
          if (module === undefined) return undefined;
          const { linear, b, d } = module;
          const low = g.matMul(tensors.dropout(site.path, site.input), columnsOf(linear.inFeatures), { transB: true }); // [C, N, r]
          const high = g.matMul(g.mul(low, rowOf(d, tensors)), rowsOf(linear.outFeatures), { transB: true }); // [C, N, out]
          return g.add(withBias(site), g.mul(high, rowOf(b, tensors)));
        },
      };
    },
    merge: (input) => shifted(1)(input) ?? saved.merge(input),
    unmerge: saved.parameters.length > 0 ? { none: "modules that stand in place of the base's, which the merged model no longer holds" } : shifted(-1),
  };
}

/** What PEFT 0.21 writes for a plain VeRA; a field that a file sets otherwise is one that fedtune does not have. */
const PEFT_DEFAULTS = { bias: "none", fan_in_fan_out: false, save_projection: true } as const;
const WITHOUT_EFFECT = ["fan_in_fan_out", "modules_to_save"];

const peftSchema = schema.omit({ method: true, init_from: true }).strip().extend({
  layers_to_transform: layers_to_transform.nullable(),
  layers_pattern: layers_pattern.nullable(),
  modules_to_save: z.array(z.string()).nullish(),
  save_projection: z.literal(true, "false, so the shared projections are not in the file: save the adapter with save_projection=True").default(true),
  target_modules: z.union([z.string(), z.array(z.string()).min(1)]),
  vera_dropout: z.number().min(0).max(1).default(0),
});

export const vera: AdapterMethod<VeraSettings> = {
  schema,
  bind: bindVera,
  peft: {
    type: "VERA",
    write(settings, model) {
      const { r, projection_prng_key, vera_dropout, d_initial, init_weights, modules_to_save } = settings;
      const fan_in_fan_out = selectModules(settings, model, "lowRank").some((l) => l.layout === "in_out");
      return {
        ...PEFT_DEFAULTS, d_initial, fan_in_fan_out, init_weights, layers_to_transform: settings.layers_to_transform ?? null, layers_pattern: settings.layers_pattern ?? null, projection_prng_key, r, vera_dropout,
        modules_to_save: modules_to_save.length === 0 ? null : modules_to_save, target_modules: targetsOr(settings.target_modules, model, "lowRank"),
      };
    },
    read(fields) {
      const file = fields.parse(peftSchema);
      fields.refuseOthers(PEFT_DEFAULTS, WITHOUT_EFFECT);
      fields.refuseUnknown([...Object.keys(peftSchema.shape), ...Object.keys(PEFT_DEFAULTS)]);
      const given = Object.fromEntries(Object.entries(file).filter(([, value]) => value != null));
      return schema.parse({ method: "vera", ...given, vera_dropout: Math.min(file.vera_dropout, 0.99) });
    },
  },
};
