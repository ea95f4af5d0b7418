/**
 * Matrix products as ONNX nodes. FusedMatMul (transposes and a factor for nothing) exists on the CPU and CUDA; WebGPU has
 * Gemm, with the same attributes for two matrices, and MatMul, whose operands are turned by a node of their own.
 */
import type { DType } from "../../../core/base/tensor.ts";
import { isHalf } from "../../../core/base/tensor.ts";
import { multiplyDims } from "../dims.ts";
import type { Dim } from "../dims.ts";
import type { OnnxEmitter } from "./emitter.ts";

export interface Product {
  /** Names and shapes of the operands; leading axes broadcast. */
  readonly a: string;
  readonly aShape: readonly Dim[];
  readonly b: string;
  readonly bShape: readonly Dim[];
  readonly transA: boolean;
  readonly transB: boolean;
  readonly alpha: number;
  /** Of both operands; absent: float32. */
  readonly dtype?: DType;
}

/** alpha · op(A) op(B), op transposing the last two axes; its name, which is `output` where that is given. */
export function emitProduct(e: OnnxEmitter, product: Product, output?: string): string {
  const { a, b, transA, transB, alpha } = product;
  const named = output === undefined ? 1 : [output];
  if (isHalf(product.dtype ?? "float32") && e.device === "cpu") return productInFloat32(e, product, output);
  if (!transA && !transB && alpha === 1) return e.node("MatMul", [a, b], named)[0] ?? "";
  if (e.device === "webgpu") return portableProduct(e, product, output);
  return e.node("FusedMatMul", [a, b], named, { domain: "com.microsoft", attributes: { transA: BigInt(transA), transB: BigInt(transB), alpha } })[0] ?? "";
}

/** The CPU has no products in half precision: see `half-on-cpu.ts`. */
function productInFloat32(e: OnnxEmitter, { dtype = "float32", ...product }: Product, output: string | undefined): string {
  return e.cast(emitProduct(e, { ...product, a: e.cast(product.a, "float32"), b: e.cast(product.b, "float32") }), dtype, output);
}

function portableProduct(e: OnnxEmitter, { a, aShape, b, bShape, transA, transB, alpha, dtype = "float32" }: Product, output: string | undefined): string {
  const named = output === undefined ? 1 : [output];
  const gemm = (left: string, outputs: readonly string[] | number): string =>
    e.node("Gemm", [left, b], outputs, { attributes: { transA: BigInt(transA), transB: BigInt(transB), alpha } })[0] ?? "";
  if (bShape.length === 2 && aShape.length === 2) return gemm(a, named);
  if (bShape.length === 2 && !transA) {
    // A matrix that all leading axes share: they are rows of one product.
    const [leading, k] = [aShape.slice(0, -1), aShape.at(-1) ?? 1];
    const rows = multiplyDims(...leading);
    const columns = bShape[transB ? 0 : 1] ?? 1;
    return e.reshape(gemm(e.reshape(a, aShape, [rows, k]), 1), [rows, columns], [...leading, columns], output);
  }
  const turned = (x: string, rank: number): string =>
    e.fresh("Transpose", [x], { attributes: { perm: Array.from({ length: rank }, (_, i) => BigInt(i < rank - 2 ? i : 2 * rank - 3 - i)) } });
  const [left, right] = [transA ? turned(a, aShape.length) : a, transB ? turned(b, bShape.length) : b];
  if (alpha === 1) return e.node("MatMul", [left, right], named)[0] ?? "";
  // In half precision a product may leave the range that the scaled one stays in: the factor goes first.
  if (isHalf(dtype)) return e.node("MatMul", [e.fresh("Mul", [left, e.float(alpha, dtype)]), right], named)[0] ?? "";
  return e.node("Mul", [e.fresh("MatMul", [left, right]), e.float(alpha)], named)[0] ?? "";
}
