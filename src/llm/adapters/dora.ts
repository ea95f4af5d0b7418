/**
 * DoRA (Liu et al. 2024, eq. 5): W' = m (W + s · B A) / ‖W + s · B A‖, a learned magnitude m `[out]` and the direction of a
 * LoRA, with the norm of each row taken for a constant by the gradient (section 4.3).
 *
 * The norm costs no product with the whole weight: ‖W_o + s B_o A‖² = ‖W_o‖² + 2 s B_o (A Wᵀ)_o + s² B_o (A Aᵀ) B_oᵀ.
 */
import { z } from "zod";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { LinearModule, Site } from "../architectures/sites.ts";
import type { AdapterMethod, AdapterTensors, BoundAdapter, MergeInput } from "./adapter.ts";
import { weightChange, withBias } from "./linear-change.ts";
import { loraDelta, loraFields, loraModules, randomFactors, sharedParts, type LoraModule } from "./lora-modules.ts";
import { readPeftLora, writePeftLora } from "./lora-peft.ts";
import { PEFT_PREFIX } from "./peft-config.ts";

const schema = z.strictObject({
  method: z.literal("dora").describe("adapter method"),
  ...loraFields,
  init_lora_weights: z.union([z.literal(true), z.literal("gaussian")]).default(true).describe("start of A: true (uniform) or gaussian (normal); B starts at zero"),
});
type DoraSettings = z.infer<typeof schema>;

const magnitudeName = ({ linear }: LoraModule): string => `${PEFT_PREFIX}${linear.path}.lora_magnitude_vector`;
/** Name of ‖W_o‖² `[out]`, made from the base. */
const squaresName = ({ linear }: LoraModule): string => `${PEFT_PREFIX}${linear.path}.squared_norm`;

/** ‖W_o‖² of each output `[out]` of a weight in its checkpoint's layout. */
function squaredNorms(weight: ArrayLike<number>, { inFeatures, outFeatures, layout }: LinearModule): Float64Array {
  const squares = new Float64Array(outFeatures);
  for (let at = 0; at < weight.length; at++) {
    const o = layout === "out_in" ? Math.floor(at / inFeatures) : at % outFeatures;
    squares[o] = (squares[o] ?? 0) + (weight[at] ?? 0) ** 2;
  }
  return squares;
}

/** ‖W + s · B A‖ of each output, `[C, 1, out]`; a constant to the gradient. */
function weightNorm(site: Site, module: LoraModule, tensors: AdapterTensors): Value {
  const { a: nameA, b: nameB, scaling, linear } = module;
  const [a, b] = [g.stopGradient(tensors.parameter(nameA)), g.stopGradient(tensors.parameter(nameB))]; // [C, r, in], [C, out, r]
  const projected = g.transpose(g.stopGradient(site.project(a)), [0, 2, 1]); // (A Wᵀ)ᵀ [C, out, r]
  const gram = g.matMul(a, a, { transB: true, alpha: scaling * scaling }); // s² A Aᵀ [C, r, r]
  const change = g.reduceSum(g.mul(g.add(g.matMul(b, gram), g.mul(projected, 2 * scaling)), b), [2]); // [C, out, 1]
  const [clients = 1] = a.shape;
  return g.sqrt(g.add(g.reshape(change, [clients, 1, linear.outFeatures]), tensors.frozen(squaresName(module))));
}

/** With dropout PEFT computes the part of the base that is rescaled from what dropout leaves of the input. */
function adaptedOutput(site: Site, module: LoraModule, tensors: AdapterTensors): Value {
  const m = tensors.parameter(magnitudeName(module)); // [C, out]
  const scale = g.div(g.reshape(m, [m.shape[0] ?? 1, 1, module.linear.outFeatures]), weightNorm(site, module, tensors)); // [C, 1, out]
  const input = tensors.dropout(site.path, site.input);
  const delta = loraDelta(input, module, tensors);
  if (input !== site.input) return g.add(withBias(site), g.add(g.mul(g.sub(scale, 1), site.project(input)), g.mul(scale, delta)));
  const scaled = g.mul(scale, g.add(site.product, delta)); // [C, N, out]
  return site.bias === undefined ? scaled : g.add(scaled, site.bias);
}

/** m (W + s · B A) / ‖W + s · B A‖ in the weight's layout. */
function mergedWeight(module: LoraModule, { base, values }: MergeInput): Float64Array {
  const { linear, r, scaling } = module;
  const merged = weightChange(linear, { a: values(module.a), b: values(module.b), r, scaling }).map((x, i) => x + (base[i] ?? 0));
  const [squares, m] = [squaredNorms(merged, linear), values(magnitudeName(module))];
  return merged.map((x, at) => {
    const o = linear.layout === "out_in" ? Math.floor(at / linear.inFeatures) : at % linear.outFeatures;
    return (x * (m[o] ?? 0)) / Math.sqrt(squares[o] ?? 0);
  });
}

function bindDora(settings: DoraSettings, model: ArchitectureModel): BoundAdapter {
  const modules = loraModules(settings, model);
  const { list, byPath, byWeight, saved } = modules;
  const random = settings.init_lora_weights === "gaussian" ? "gaussian" : "uniform";
  return {
    ...sharedParts(modules, settings),
    parameters: [
      ...list.flatMap((module) => [
        ...randomFactors(module, random),
        { name: magnitudeName(module), shape: [module.linear.outFeatures], start: (from) => Float32Array.from(squaredNorms(from.base(module.linear.weight), module.linear), Math.sqrt) } satisfies BoundAdapter["parameters"][number],
      ]),
      ...saved.parameters,
    ],
    frozen: list.map((module) => ({ name: squaresName(module), shape: [module.linear.outFeatures], saved: false, start: (from) => Float32Array.from(squaredNorms(from.base(module.linear.weight), module.linear)) })),
    attach: (tensors) => ({
      weight: saved.hook(tensors),
      linearOutput(site) {
        const module = byPath.get(site.path);
        return module === undefined ? undefined : adaptedOutput(site, module, tensors);
      },
    }),
    merge(input) {
      const module = byWeight.get(input.name);
      return module === undefined ? saved.merge(input) : mergedWeight(module, input);
    },
    unmerge: { none: "weights whose rows have the learned magnitudes; how long they were is no longer in them" },
  };
}

export const dora: AdapterMethod<DoraSettings> = {
  schema,
  bind: bindDora,
  peft: {
    type: "LORA",
    write: (settings, model) => writePeftLora(settings, model, { use_dora: true }),
    read(fields) {
      const settings = readPeftLora(fields, { use_dora: true, starts: ["gaussian"] });
      return settings === undefined ? undefined : schema.parse({ method: "dora", ...settings });
    },
  },
};
