/**
 * LoRA (Hu et al. 2021, eq. 3): h = W x + s · B A x, with A `[r, in]`, B `[out, r]` and s = lora_alpha / r, or
 * lora_alpha / √r with `use_rslora` (Kalajdzievski 2023, eq. 4).
 *
 * PiSSA and OLoRA start from factors A₀, B₀ of the weight and train beside what is left of it, W − s · B₀ A₀. Here the base
 * stays what it is: A₀ and B₀ are frozen tensors, and h = W x + s · (B A − B₀ A₀) x.
 */
import { z } from "zod";
import { FedtuneError, must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { NamedTensors, Tensor } from "../../core/base/tensor.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { Site } from "../architectures/sites.ts";
import type { AdapterMethod, AdapterTensors, BoundAdapter, FrozenSpec, MergeInput, ParameterSpec, SummedPart } from "./adapter.ts";
import { baseFactors, type FactorStart } from "./base-factors.ts";
import { weightChange, withBias } from "./linear-change.ts";
import { factorShapes, loraDelta, loraFields, loraModules, randomFactors, sharedParts, type LoraModule } from "./lora-modules.ts";
import { sumFactorPairs } from "./lora-sum.ts";
import { readPeftLora, writePeftLora } from "./lora-peft.ts";

const schema = z.strictObject({
  method: z.literal("lora").default("lora").describe("adapter method"),
  ...loraFields,
  init_lora_weights: z
    .union([z.literal(true), z.enum(["gaussian", "pissa", "olora"])])
    .default(true)
    .describe("start: true (A uniform, B zero), gaussian (A normal, B zero), pissa (the weight's largest singular parts; Meng et al. 2024) or olora (its QR factors; Büyükakyüz 2024)"),
});
type LoraSettings = z.infer<typeof schema>;

/** The start, where it takes its factors from the base. */
function factorStart({ init_lora_weights: start }: LoraSettings): FactorStart | undefined {
  return start === "pissa" || start === "olora" ? start : undefined;
}

/** Name of the frozen factor that a trained one starts from. */
const initialName = (factor: string): string => factor.replace(/\.weight$/, ".initial");

interface ModuleSpecs {
  readonly parameters: readonly ParameterSpec[];
  readonly frozen: readonly FrozenSpec[];
}

/** Trained factors that start from the base's, and these once more, frozen. Throws FedtuneError("config") where the rank is too high. */
function factoredSpecs(module: LoraModule, start: FactorStart): ModuleSpecs {
  const { linear, r, a, b } = module;
  const most = Math.min(linear.inFeatures, linear.outFeatures);
  if (r > most) throw new FedtuneError("config", { where: "adapter.r", expected: `at most ${most} for init_lora_weights ${start} of ${linear.path} (${linear.outFeatures} × ${linear.inFeatures})`, got: String(r), remedy: "Lower r, or set rank_pattern for this module" });
  const factors = baseFactors(start, module);
  const shapes = factorShapes(module);
  const parameters: readonly ParameterSpec[] = [
    { name: a, shape: shapes.a, start: (from) => factors(from).a.slice() },
    { name: b, shape: shapes.b, start: (from) => factors(from).b.slice() },
  ];
  return { parameters, frozen: parameters.map((spec) => ({ ...spec, name: initialName(spec.name), saved: false })) };
}

/** s · B₀ A₀ x `[C, N, out]`. */
function initialDelta(x: Value, { a, b, scaling }: LoraModule, tensors: AdapterTensors): Value {
  const low = g.matMul(x, tensors.frozen(initialName(a)), { transB: true, alpha: scaling }); // [C, N, r]
  return g.matMul(low, tensors.frozen(initialName(b)), { transB: true });
}

function bindLora(settings: LoraSettings, model: ArchitectureModel): BoundAdapter {
  const modules = loraModules(settings, model);
  const { list, byPath, byWeight, saved } = modules;
  const start = factorStart(settings);
  const random = settings.init_lora_weights === "gaussian" ? "gaussian" : "uniform";
  const specs = list.map((m): ModuleSpecs => (start === undefined ? { parameters: randomFactors(m, random), frozen: [] } : factoredSpecs(m, start)));

  const output = (site: Site, tensors: AdapterTensors): Value | undefined => {
    const module = byPath.get(site.path);
    if (module === undefined) return undefined;
    const adapted = g.add(withBias(site), loraDelta(tensors.dropout(site.path, site.input), module, tensors));
    return start === undefined ? adapted : g.sub(adapted, initialDelta(site.input, module, tensors));
  };

  /** base + sign · s · (B A − B₀ A₀), in float64. */
  const shifted = (sign: 1 | -1) => ({ name, base, values }: MergeInput): Float64Array | undefined => {
    const module = byWeight.get(name);
    if (module === undefined) return undefined;
    const { linear, r, a, b } = module;
    const scaling = sign * module.scaling;
    const change = weightChange(linear, { a: values(a), b: values(b), r, scaling });
    const initial = start === undefined ? undefined : weightChange(linear, { a: values(initialName(a)), b: values(initialName(b)), r, scaling });
    return change.map((x, i) => (base[i] ?? 0) + x - (initial?.[i] ?? 0));
  };

  return {
    ...sharedParts(modules, settings),
    parameters: [...specs.flatMap((s) => s.parameters), ...saved.parameters],
    frozen: specs.flatMap((s) => s.frozen),
    attach: (tensors) => ({ weight: saved.hook(tensors), linearOutput: (site) => output(site, tensors) }),
    merge: (input) => shifted(1)(input) ?? saved.merge(input),
    unmerge: saved.parameters.length > 0 ? { none: "biases or modules that stand in place of the base's, which the merged model no longer holds" }
      : start !== undefined ? { none: `init_lora_weights ${start}, whose first factors are made from the base` }
      : shifted(-1),
  };
}

/** A over A₀ `[2r, in]`, or B beside −B₀ `[out, 2r]`: their product is B A − B₀ A₀. */
function joinFactors(name: string, trained: Tensor<"float32">, initial: Tensor<"float32">): Tensor<"float32"> {
  const [rows = 0, columns = 0] = trained.shape;
  const joined = new Float32Array(2 * rows * columns);
  if (name.endsWith(".lora_A.weight")) {
    joined.set(trained.data);
    joined.set(initial.data, rows * columns);
    return tensor("float32", [2 * rows, columns], joined);
  }
  for (let o = 0; o < rows; o++) {
    joined.set(trained.data.subarray(o * columns, (o + 1) * columns), 2 * o * columns);
    joined.set(initial.data.subarray(o * columns, (o + 1) * columns).map((x) => -x), (2 * o + 1) * columns);
  }
  return tensor("float32", [rows, 2 * columns], joined);
}

/** As PEFT converts PiSSA and OLoRA to a plain LoRA of the unchanged base (`path_initial_model_for_weight_conversion`). */
function toPlainLora(settings: LoraSettings, tensors: NamedTensors<"float32">, frozen: NamedTensors<"float32">) {
  if (factorStart(settings) === undefined) return { settings, tensors };
  const double = <T extends number>(values: Readonly<Record<string, T>>, factor: number) => Object.fromEntries(Object.entries(values).map(([pattern, x]) => [pattern, factor * x]));
  // The scaling is alpha / r, or alpha / √r: it stays the same under twice the rank.
  const alphaFactor = settings.use_rslora ? Math.SQRT2 : 2;
  return {
    settings: { ...settings, init_lora_weights: true as const, r: 2 * settings.r, lora_alpha: alphaFactor * settings.lora_alpha, rank_pattern: double(settings.rank_pattern, 2), alpha_pattern: double(settings.alpha_pattern, alphaFactor) },
    tensors: new Map([...tensors].map(([name, t]): [string, Tensor<"float32">] => {
      const initial = frozen.get(initialName(name));
      return [name, initial === undefined ? t : joinFactors(name, t, initial)];
    })),
  };
}

/** One LoRA whose change of each weight is the weighted sum of the parts'. Biases and modules that train whole cannot be added without the base. */
function sumLora(parts: readonly SummedPart<LoraSettings>[]) {
  const first = must(parts[0], "a LoRA adapter");
  const whole = parts.find(({ adapter }) => adapter.parameters.length > 2 * adapter.factorPairs.length);
  if (whole !== undefined) throw new FedtuneError("config", { where: "adapters", expected: "LoRA adapters without trained biases and modules_to_save", got: "one that has them", remedy: "Train without them, or merge the adapters into models" });
  const { tensors, ranks } = sumFactorPairs(parts);
  const r = Math.max(...ranks.values());
  const others = Object.fromEntries([...ranks].filter(([, rank]) => rank !== r));
  const { init_from: _start, target_modules: _targets, ...rest } = first.settings;
  const settings: LoraSettings = { ...rest, layers_to_transform: undefined, exclude_modules: undefined, target_modules: [...ranks.keys()], r, lora_alpha: r, use_rslora: false, rank_pattern: others, alpha_pattern: others, init_lora_weights: true };
  return { settings, parameters: tensors, frozen: new Map() };
}

export const lora: AdapterMethod<LoraSettings> = {
  schema,
  bind: bindLora,
  peft: {
    type: "LORA",
    write: (settings, model) => writePeftLora(settings, model, { use_dora: false }),
    read(fields) {
      const settings = readPeftLora(fields, { use_dora: false, starts: ["gaussian", "pissa", "olora"] });
      return settings === undefined ? undefined : schema.parse(settings);
    },
    convert: toPlainLora,
  },
  sum: sumLora,
};
