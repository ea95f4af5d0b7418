/**
 * LoRA (Hu et al. 2021, eq. 3): h = W x + s · B A x, with A `[r, in]`, B `[out, r]` and s = lora_alpha / r, or
 * lora_alpha / √r with `use_rslora` (Kalajdzievski 2023, eq. 4).
 */
import { must } from "../../core/base/errors.ts";
import * as g from "../../engine/graph/operations.ts";
import type { LinearModule } from "../architectures/architecture.ts";
import type { BoundAdapter } from "./adapter.ts";
import type { LoraSettings } from "./settings.ts";
import { patternValue, resolveTargets } from "./targets.ts";

/** PEFT's prefix of every saved tensor. */
const PREFIX = "base_model.model.";

interface LoraModule {
  readonly linear: LinearModule;
  readonly r: number;
  readonly scaling: number;
  readonly a: string;
  readonly b: string;
}

/** LoRA on the modules that the settings name. Throws FedtuneError("config") where they match nothing. */
export function bindLora(settings: LoraSettings, linears: readonly LinearModule[]): BoundAdapter {
  const modules = new Map<string, LoraModule>();
  for (const linear of resolveTargets(settings.target_modules, linears)) {
    const r = patternValue(settings.rank_pattern, linear.path, "rank_pattern") ?? settings.r;
    const alpha = patternValue(settings.alpha_pattern, linear.path, "alpha_pattern") ?? settings.lora_alpha;
    const scaling = alpha / (settings.use_rslora ? Math.sqrt(r) : r);
    modules.set(linear.path, { linear, r, scaling, a: `${PREFIX}${linear.path}.lora_A.weight`, b: `${PREFIX}${linear.path}.lora_B.weight` });
  }
  const list = [...modules.values()];
  return {
    parameters: list.flatMap(({ linear, r, a, b }) => [
      // PyTorch's default for a linear layer (Kaiming with a = √5) is uniform within 1/√in.
      { name: a, shape: [r, linear.inFeatures], start: { kind: "uniform", bound: 1 / Math.sqrt(linear.inFeatures) } },
      { name: b, shape: [linear.outFeatures, r], start: { kind: "zeros" } },
    ]),
    factorPairs: list.map(({ a, b, scaling }) => ({ a, b, scaling })),
    baseCopies: list.filter((m) => m.linear.isHead).map(({ linear }) => ({ name: `${PREFIX}${linear.path}.base_layer.weight`, shape: [linear.outFeatures, linear.inFeatures] })),
    adaptsHead: list.some((m) => m.linear.isHead),
    apply({ path, input, output }, parameters, dropoutMask) {
      const module = modules.get(path);
      if (module === undefined) return output;
      const [a, b] = [must(parameters.get(module.a), module.a), must(parameters.get(module.b), module.b)];
      const p = settings.lora_dropout;
      const x = dropoutMask === undefined || p === 0 ? input : g.dropout(input, dropoutMask(path, input), p);
      const low = g.matMul(x, a, { transB: true, alpha: module.scaling }); // [C, N, r]
      return g.add(output, g.matMul(low, b, { transB: true })); // [C, N, out]
    },
    weightChange(path, values) {
      const module = modules.get(path);
      if (module === undefined) return undefined;
      const { r, scaling, linear: { inFeatures, outFeatures } } = module;
      const [a, b] = [values(module.a), values(module.b)];
      const change = new Float64Array(outFeatures * inFeatures);
      for (let o = 0; o < outFeatures; o++) {
        for (let k = 0; k < r; k++) {
          const factor = scaling * (b[o * r + k] ?? 0);
          for (let i = 0; i < inFeatures; i++) change[o * inFeatures + i] = (change[o * inFeatures + i] ?? 0) + factor * (a[k * inFeatures + i] ?? 0);
        }
      }
      return change;
    },
  };
}
