/** The weighted mean of updates, tensor by tensor, in float64 and in the order given. For strategies that fold one update at a time. */
import { tensor, zeros, type NamedTensors, type Tensor } from "../../core/base/tensor.ts";
import type { UpdateHandle } from "./types.ts";

/** Σ share · update. Each update is loaded once and may be freed after; the result depends on order only through float64 rounding. */
export function weightedMean(updates: readonly UpdateHandle[]): NamedTensors<"float32"> {
  const sums = new Map<string, Tensor<"float64">>();
  for (const update of updates) {
    for (const [name, { shape, data }] of update.load()) {
      let sum = sums.get(name);
      if (sum === undefined) sums.set(name, (sum = zeros("float64", shape)));
      addScaled(sum.data, data, update.share);
    }
  }
  return new Map([...sums].map(([name, { shape, data }]) => [name, tensor("float32", shape, new Float32Array(data))]));
}

function addScaled(sum: Float64Array, values: Float32Array, share: number): void {
  // Both have the same length (checked with the update), so no element is missing; `?? 0` here would halve the speed.
  for (let i = 0; i < sum.length; i++) (sum[i] as number) += share * (values[i] as number);
}
