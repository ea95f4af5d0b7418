/** Weights of linear modules in 8 bits: how they are rounded, in which layouts they lie in the prepared base, and their product. */
import { tensor } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import type { TensorDeclaration } from "../../core/formats/safetensors-header.ts";
import type { GraphBuilder } from "../../engine/graph/builder.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { BaseTensor, LinearModule } from "./sites.ts";

/** Precisions that a base can be held in. */
export type BasePrecision = "float32" | "int8";

/** Largest magnitude of a signed 8-bit number that has a negative. */
const LIMIT = 127;

const namesOf = (name: string) => ({ weight: `${name} int8`, transposed: `${name} int8 transposed`, scales: `${name} scales` });

/** The tensors of a base whose products can be rounded: weights of linear modules, the output embedding left out. */
export function quantizableTensors({ tensors, linears }: { readonly tensors: readonly BaseTensor[]; readonly linears: readonly LinearModule[] }): ReadonlyMap<string, LinearModule["layout"]> {
  const layouts = new Map(linears.filter(({ isHead }) => !isHead).map((l) => [l.weight, l.layout]));
  return new Map(tensors.flatMap(({ name, parts }) => {
    const layout = layouts.get(parts[0]?.name ?? "");
    return layout === undefined ? [] : [[name, layout]];
  }));
}

/** Sizes `[K, N]` of a weight as its product takes it. */
function sizesOf({ shape }: Pick<BaseTensor, "shape">, layout: LinearModule["layout"]): { readonly k: number; readonly n: number } {
  const [rows = 0, columns = 0] = shape;
  return layout === "out_in" ? { k: columns, n: rows } : { k: rows, n: columns };
}

/** Names, dtypes and shapes of what stands for a rounded weight in the prepared base. */
export function quantizedDeclarations(base: BaseTensor, layout: LinearModule["layout"]): readonly TensorDeclaration[] {
  const { weight, transposed, scales } = namesOf(base.name);
  const { k, n } = sizesOf(base, layout);
  return [{ name: weight, dtype: "int8", shape: [k, n] }, { name: transposed, dtype: "int8", shape: [n, k] }, { name: scales, dtype: "float32", shape: [n] }];
}

/** A weight rounded to nearest, each output by its own scale: largest magnitude / 127. In the order of the declarations. */
export function quantizeWeight(base: BaseTensor, layout: LinearModule["layout"], values: Float32Array): readonly [string, Tensor][] {
  const { k, n } = sizesOf(base, layout);
  const [outStride, inStride] = layout === "out_in" ? [k, 1] : [1, n];
  const [byInput, byOutput, scales] = [new Int8Array(k * n), new Int8Array(k * n), new Float32Array(n)];
  for (let o = 0; o < n; o++) {
    let largest = 0;
    for (let i = 0; i < k; i++) largest = Math.max(largest, Math.abs(values[o * outStride + i * inStride] ?? 0));
    const scale = largest / LIMIT;
    scales[o] = scale;
    for (let i = 0; i < k && scale > 0; i++) {
      const q = Math.round((values[o * outStride + i * inStride] ?? 0) / scale);
      byInput[i * n + o] = q;
      byOutput[o * k + i] = q;
    }
  }
  const names = namesOf(base.name);
  return [[names.weight, tensor("int8", [k, n], byInput)], [names.transposed, tensor("int8", [n, k], byOutput)], [names.scales, tensor("float32", [n], scales)]];
}

/** x `[…, K]` times a rounded weight of the prepared base: `[…, N]`. */
export function quantizedProduct(builder: GraphBuilder, base: BaseTensor, layout: LinearModule["layout"], x: Value): Value {
  const { weight, transposed, scales } = namesOf(base.name);
  const { k, n } = sizesOf(base, layout);
  return g.quantizedMatMul(x, { weight: builder.weight(weight, "int8", [k, n]), transposed: builder.weight(transposed, "int8", [n, k]), scales: builder.weight(scales, "float32", [n]) });
}
