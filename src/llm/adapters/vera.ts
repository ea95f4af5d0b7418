/**
 * VeRA (Kopiczko et al. 2024, eq. 2): h = W x + Λ_b B Λ_d A x. One random pair A `[r, in]`, B `[out, r]` is shared by all
 * modules and frozen; each module trains the diagonals d `[r]` and b `[out]`. As in PEFT, A and B are as large as the
 * widest module needs, and a module takes A's first columns and B's first rows.
 */
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import { randomKey, uniforms } from "../../core/base/random.ts";
import { elementCount } from "../../core/base/tensor.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { ArchitectureModel, LinearModule } from "../architectures/architecture.ts";
import { commonFields, type AdapterMethod, type AdapterTensors, type BoundAdapter, type FrozenSpec } from "./adapter.ts";
import { weightChange, withBias } from "./linear-change.ts";
import { PEFT_PREFIX } from "./peft-config.ts";
import { constantStart, normalStart } from "./starts.ts";
import { resolveTargets, targetsOr } from "./targets.ts";

const schema = z.strictObject({
  method: z.literal("vera").describe("adapter method"),
  r: z.int().positive().default(256).describe("rank of the shared projections; larger than a LoRA's, as only r + out numbers a module train"),
  target_modules: z.union([z.string(), z.array(z.string()).min(1)]).optional()
    .describe("module names, the word all-linear, or a regular expression that matches whole module paths; left out: the attention's query and value projections"),
  layers_to_transform: z.union([z.int().nonnegative(), z.array(z.int().nonnegative()).min(1)]).optional().describe("indices of the layers to adapt; left out: all"),
  projection_prng_key: z.int().nonnegative().default(0).describe("key that the shared projections are drawn from: equal keys and shapes give equal projections, whatever the seed"),
  save_projection: z.literal(true, "expected true: PEFT would draw other projections from the key than fedtune trained with").default(true)
    .describe("save the shared projections with the adapter; always, as no other program draws the same ones from the key"),
  vera_dropout: z.number().min(0).max(0.99).default(0).describe("dropout on the input of the A matrix"),
  d_initial: z.number().default(0.1).describe("what the diagonal d starts from"),
  init_weights: z.boolean().default(true).describe("start from b = 0, so that the model is the base; else from b = 1 and normal draws for d"),
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

/** The index of the layer that a module lies in, as PEFT finds it: the first number within its path. */
function layerOf(path: string): number | undefined {
  const found = /\.(\d+)\./.exec(path)?.[1];
  return found === undefined ? undefined : Number(found);
}

/** Throws FedtuneError("config") where the settings match nothing. */
function veraModules({ target_modules, layers_to_transform }: VeraSettings, model: ArchitectureModel): readonly VeraModule[] {
  const layers = layers_to_transform === undefined ? undefined : [layers_to_transform].flat();
  if (layers !== undefined && typeof target_modules === "string" && target_modules !== "all-linear") {
    throw new FedtuneError("config", { where: "adapter.layers_to_transform", expected: "target_modules as names", got: `the pattern \`${target_modules}\`, which names its layers itself`, remedy: "Leave layers_to_transform out" });
  }
  const outside = layers?.find((layer) => layer >= model.layers);
  if (outside !== undefined) throw new FedtuneError("config", { where: "adapter.layers_to_transform", expected: `layers from 0 to ${model.layers - 1}`, got: String(outside) });
  const found = resolveTargets(targetsOr(target_modules, model, "lowRank"), model.linears)
    .filter(({ path }) => layers === undefined || layers.includes(layerOf(path) ?? -1));
  if (found.length === 0) throw new FedtuneError("config", { where: "adapter.layers_to_transform", expected: "layers that hold some of target_modules", got: JSON.stringify(layers_to_transform) });
  return found.map((linear) => ({ linear, b: `${PEFT_PREFIX}${linear.path}.vera_lambda_b`, d: `${PEFT_PREFIX}${linear.path}.vera_lambda_d` }));
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
  const list = veraModules(settings, model);
  const modules = new Map(list.map((m) => [m.linear.path, m]));
  const byWeight = new Map(list.map((m) => [m.linear.weight, m]));
  const widest = Math.max(...list.map(({ linear }) => linear.inFeatures));
  const tallest = Math.max(...list.map(({ linear }) => linear.outFeatures));
  return {
    parameters: list.flatMap(({ linear, b, d }) => [
      { name: b, shape: [linear.outFeatures], start: constantStart([linear.outFeatures], init_weights ? 0 : 1) },
      { name: d, shape: [r], start: init_weights ? constantStart([r], d_initial) : normalStart([r], 1) },
    ]),
    frozen: [projection(A, [r, widest], key), projection(B, [tallest, r], key)],
    virtualTokens: 0, prefixTokens: 0, dropout: settings.vera_dropout,
    changesHead: list.some((m) => m.linear.isHead),
    factorPairs: [],
    baseCopies: list.filter((m) => m.linear.isHead).map(({ linear }) => ({ name: `${PEFT_PREFIX}${linear.path}.base_layer.weight`, shape: [linear.outFeatures, linear.inFeatures] })),
    attach(tensors) {
      const [columnsOf, rowsOf] = [slicer(tensors.frozen(A), 1), slicer(tensors.frozen(B), 0)];
      return {
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
    merge({ name, base, values }) {
      const module = byWeight.get(name);
      if (module === undefined) return undefined;
      const { linear } = module;
      const [b, d, wholeA, wholeB] = [values(module.b), values(module.d), values(A), values(B)];
      const a = Float64Array.from({ length: r * linear.inFeatures }, (_, i) => (d[Math.floor(i / linear.inFeatures)] ?? 0) * (wholeA[Math.floor(i / linear.inFeatures) * widest + (i % linear.inFeatures)] ?? 0));
      const change = weightChange(linear, { a, b: Float64Array.from({ length: linear.outFeatures * r }, (_, i) => (b[Math.floor(i / r)] ?? 0) * (wholeB[i] ?? 0)), r, scaling: 1 });
      return change.map((x, i) => x + (base[i] ?? 0));
    },
  };
}

/** What PEFT 0.21 writes for a plain VeRA; a field that a file sets otherwise is one that fedtune does not have. */
const PEFT_DEFAULTS = { bias: "none", fan_in_fan_out: false, layers_pattern: null, save_projection: true } as const;
const WITHOUT_EFFECT = ["fan_in_fan_out", "layers_pattern"];

const peftSchema = schema.omit({ method: true, init_from: true }).strip().extend({
  layers_to_transform: schema.shape.layers_to_transform.nullable(),
  save_projection: z.literal(true, "false, so the shared projections are not in the file: save the adapter with save_projection=True").default(true),
  target_modules: z.union([z.string(), z.array(z.string())]),
  vera_dropout: z.number().min(0).max(1).default(0),
});

export const vera: AdapterMethod<VeraSettings> = {
  schema,
  bind: bindVera,
  peft: {
    type: "VERA",
    write({ r, target_modules: given, layers_to_transform = null, projection_prng_key, vera_dropout, d_initial, init_weights }, model) {
      const target_modules = targetsOr(given, model, "lowRank");
      const transposed = resolveTargets(target_modules, model.linears).some((l) => l.layout === "in_out");
      return { ...PEFT_DEFAULTS, d_initial, fan_in_fan_out: transposed, init_weights, layers_to_transform, projection_prng_key, r, target_modules, vera_dropout };
    },
    read(fields) {
      const { layers_to_transform, vera_dropout, ...others } = fields.parse(peftSchema);
      fields.refuseOthers(PEFT_DEFAULTS, WITHOUT_EFFECT);
      return schema.parse({ method: "vera", ...others, vera_dropout: Math.min(vera_dropout, 0.99), ...(layers_to_transform == null ? {} : { layers_to_transform }) });
    },
  },
};
