/** An adapter as one flat vector of length P: one tensor to move, clip and average, cut into its tensors inside the graph. */
import { must } from "../../core/base/errors.ts";
import { elementCount, formatShape, sameShape, tensor } from "../../core/base/tensor.ts";
import type { NamedTensors, Tensor } from "../../core/base/tensor.ts";
import type { Dim } from "../../engine/graph/dims.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { ParameterSpec } from "../adapters/adapter.ts";

/** Number of elements of all parameters together. */
export function flatSize(specs: readonly ParameterSpec[]): number {
  return specs.reduce((n, { shape }) => n + elementCount(shape), 0);
}

/** Writes named tensors to `out`, in the order of the specs. Throws an internal error where one is missing or of another shape. */
export function flatten(tensors: NamedTensors<"float32">, specs: readonly ParameterSpec[], out: Float32Array): void {
  let at = 0;
  for (const { name, shape } of specs) {
    const t = must(tensors.get(name), `adapter tensor ${name}`);
    if (!sameShape(t.shape, shape)) throw new Error(`adapter tensor ${name}: expected ${formatShape(shape)}, got ${formatShape(t.shape)}`);
    out.set(t.data, at);
    at += t.data.length;
  }
}

/** The named tensors of a flat vector, copied. */
export function unflatten(flat: Float32Array, specs: readonly ParameterSpec[]): NamedTensors<"float32"> {
  let at = 0;
  return new Map(
    specs.map(({ name, shape }): [string, Tensor<"float32">] => {
      const size = elementCount(shape);
      at += size;
      return [name, tensor("float32", shape, flat.slice(at - size, at))];
    }),
  );
}

/** A flat `[C, P]` value cut into parameters `[C, …shape]`, by name; those without elements have no value. */
export function splitParameters(flat: Value, all: readonly ParameterSpec[]): ReadonlyMap<string, Value> {
  const clients: Dim = flat.shape[0] ?? 1;
  const specs = all.filter(({ shape }) => elementCount(shape) > 0);
  const pieces = g.split(flat, 1, specs.map(({ shape }) => elementCount(shape)));
  return new Map(specs.map(({ name, shape }, i) => [name, g.reshape(must(pieces[i], name), [clients, ...shape])]));
}

/** Parameters `[C, …shape]` by name as one flat `[C, P]` value, in the order of the specs. */
export function joinParameters(named: ReadonlyMap<string, Value>, specs: readonly ParameterSpec[]): Value {
  const pieces = specs.map(({ name, shape }) => {
    const value = must(named.get(name), name);
    return g.reshape(value, [value.shape[0] ?? 1, elementCount(shape)]);
  });
  return g.concat([must(pieces[0], "a parameter"), ...pieces.slice(1)], 1);
}
