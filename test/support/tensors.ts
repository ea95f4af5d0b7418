/** Tensors for tests of sessions: drawn normal numbers, and row numbers that repeat. */
import { normals, randomKey } from "../../src/core/base/random.ts";
import { elementCount, tensor, type Tensor } from "../../src/core/base/tensor.ts";

/** Normal numbers; the same for the same name and shape. */
export function drawTensor(name: string, shape: readonly number[]): Tensor<"float32"> {
  return tensor("float32", shape, Float32Array.from(normals(randomKey(11, name), [], elementCount(shape))));
}

/** Row numbers 0, 7, 14, … modulo `below`. */
export function drawRows(shape: readonly number[], below: number): Tensor<"int32"> {
  return tensor("int32", shape, Int32Array.from({ length: elementCount(shape) }, (_, i) => (i * 7) % below));
}
