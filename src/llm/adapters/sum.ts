/** Adapters added with weights, to make one: as PEFT's `add_weighted_adapter`, exact wherever the method allows. */
import { FedtuneError, must } from "../../core/base/errors.ts";
import { canonicalJson } from "../../core/base/hash.ts";
import { sameShape, tensor } from "../../core/base/tensor.ts";
import type { NamedTensors, Tensor } from "../../core/base/tensor.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { bindAdapter, methodOf } from "./all.ts";
import type { AdapterSettings } from "./all.ts";

/** An adapter at rest, with its share in a sum. */
export interface WeightedAdapter {
  readonly settings: AdapterSettings;
  /** Its parameters, and the frozen tensors that it needs. */
  readonly parameters: NamedTensors<"float32">;
  readonly frozen: NamedTensors<"float32">;
  readonly weight: number;
}

export type SummedAdapter = Omit<WeightedAdapter, "weight">;

function refuse(expected: string, got: string): FedtuneError {
  return new FedtuneError("config", { where: "adapters", expected, got, remedy: "Add adapters of one method, on one base" });
}

/** Σ wᵢ tᵢ of tensors of the same names and shapes, in float64. */
function sumTensors(parts: readonly WeightedAdapter[]): NamedTensors<"float32"> {
  const first = must(parts[0], "an adapter");
  return new Map([...first.parameters].map(([name, { shape, data }]): [string, Tensor<"float32">] => {
    const sum = new Float64Array(data.length);
    for (const { parameters, weight } of parts) {
      const own = must(parameters.get(name), name);
      own.data.forEach((x, i) => (sum[i] = (sum[i] ?? 0) + weight * x));
    }
    return [name, tensor("float32", shape, Float32Array.from(sum))];
  }));
}

function sameTensors(a: NamedTensors<"float32">, b: NamedTensors<"float32">): boolean {
  return a.size === b.size && [...a].every(([name, t]) => {
    const other = b.get(name);
    return other !== undefined && sameShape(other.shape, t.shape) && t.data.every((x, i) => x === other.data[i]);
  });
}

/**
 * Σ weight · adapter. LoRA adapters of any ranks and modules give one whose change of each weight is the weighted sum of
 * theirs; other methods are added tensor by tensor, under equal settings.
 * Throws FedtuneError("config") for adapters that cannot be added.
 */
export function sumAdapters(parts: readonly WeightedAdapter[], model: ArchitectureModel): SummedAdapter {
  const [first] = parts;
  if (first === undefined) throw refuse("at least one adapter", "none");
  const method = methodOf(first.settings);
  const other = parts.find(({ settings }) => methodOf(settings) !== method);
  if (other !== undefined) throw refuse(`adapters of one method (${first.settings.method})`, other.settings.method);
  if (parts.some(({ weight }) => !Number.isFinite(weight))) throw refuse("weights that are numbers", parts.map(({ weight }) => weight).join(", "));
  if (method.sum !== undefined) {
    return method.sum(parts.map(({ settings, parameters, frozen, weight }) => {
      const plain = method.peft.convert?.(settings, parameters, frozen) ?? { settings, tensors: parameters };
      return { settings: plain.settings, tensors: plain.tensors, weight, adapter: bindAdapter(plain.settings, model) };
    }));
  }
  const settingsOf = ({ settings }: WeightedAdapter): string => canonicalJson({ ...settings, init_from: null });
  const different = parts.find((part) => settingsOf(part) !== settingsOf(first) || !sameTensors(part.frozen, first.frozen));
  if (different !== undefined) throw refuse(`${first.settings.method} adapters of equal settings and projections`, "others");
  return { settings: first.settings, frozen: first.frozen, parameters: sumTensors(parts) };
}
