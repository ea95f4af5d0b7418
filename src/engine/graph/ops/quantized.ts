/**
 * Products with a rounded weight. 8 bits: weights rounded once by column of the product, activations at run time by row (Dettmers et al.
 * 2022, "LLM.int8()", section 3.1, without its outlier columns). Both directions are 8-bit products; integer products have
 * no transposed form, so the weight comes in two layouts. Weights are int8, or uint8 about 128 for processors whose product
 * of unsigned rows and signed weights saturates (which is right where: engine/runtime/byte-products.ts).
 */
import { must } from "../../../core/base/errors.ts";
import { tensor } from "../../../core/base/tensor.ts";
import type { DType } from "../../../core/base/tensor.ts";
import { BYTE_LIMIT, byteZero, isByte, UNSIGNED_ZERO } from "../byte-weights.ts";
import { multiplyDims } from "../dims.ts";
import type { Dim } from "../dims.ts";
import type { TensorType } from "../types.ts";
import type { OnnxEmitter } from "../onnx/emitter.ts";
import { emitProduct } from "../onnx/product.ts";
import type { OpAttributes } from "../op-attributes.ts";
import * as g from "../operations.ts";
import { arity3, dimAt, shapeError } from "./record.ts";
import type { OpRecord } from "./record.ts";

/** Largest unsigned byte. */
const UNSIGNED_LIMIT = 255;
/** Rows of zeros have this for their largest magnitude. */
const SMALLEST = 1e-30;

/** Rows that were rounded, and their scales `[n, 1]`, by the names of their ONNX values. */
interface RoundedRows {
  readonly rows: string;
  readonly scales: string;
}

/** ONNX nodes that round rows `[n, K]` to unsigned 8 bits about 128; `scales` is `[n, 1]`. Without n, what it does not know stays undeclared. */
function quantizeRows(e: OnnxEmitter, x: string, n: Dim | undefined): RoundedRows {
  const over = e.integers([1]);
  const largest = e.fresh("Max", [e.fresh("ReduceMax", [x, over], { attributes: { keepdims: 1n } }), e.fresh("Neg", [e.fresh("ReduceMin", [x, over], { attributes: { keepdims: 1n } })]), e.float(SMALLEST)]);
  const scales = e.fresh("Mul", [largest, e.float(1 / BYTE_LIMIT)]);
  const byRow = (value: string, dtype: DType): string => (n === undefined ? value : e.declare(value, { dtype, shape: [n] }));
  const flat = byRow(e.fresh("Reshape", [scales, e.integers([-1])]), "float32");
  const zerosOf = (shape: string): string => byRow(e.fresh("Expand", [e.constant(tensor("uint8", [1], Uint8Array.of(UNSIGNED_ZERO))), shape]), "uint8");
  const zeros = n === undefined ? zerosOf(e.fresh("Shape", [flat])) : e.once(`zeros of ${n} rows`, () => zerosOf(e.shape([n])));
  return { rows: e.fresh("QuantizeLinear", [x, flat, zeros], { attributes: { axis: 0n } }), scales };
}

/** An 8-bit weight `[K, N]` with scales `[N]` (absent: 1), by the names of their ONNX values. */
interface EmittedWeight {
  readonly weight: string;
  readonly dtype: DType;
  readonly scales: string | undefined;
}

/** Rounded rows times a weight; `rowZero` stands for 0 in the rows. */
function byteProduct(e: OnnxEmitter, rounded: RoundedRows, { weight, dtype, scales }: EmittedWeight, rowZero: number = UNSIGNED_ZERO): string {
  const one = e.constant(tensor("float32", [], Float32Array.of(1)));
  const zero = (point: number): string => e.constant(tensor("uint8", [], Uint8Array.of(point)));
  const zeros = [zero(rowZero), ...(dtype === "uint8" ? [zero(byteZero(dtype))] : [])];
  return e.fresh("Mul", [e.fresh("MatMulIntegerToFloat", [rounded.rows, weight, one, scales ?? one, ...zeros], { domain: "com.microsoft" }), rounded.scales]);
}

/** Rows `[n, K]`, rounded, times a weight: `[n, N]`. */
export function roundedRowsProduct(e: OnnxEmitter, x: string, weight: EmittedWeight): string {
  return byteProduct(e, quantizeRows(e, x, undefined), weight);
}

/**
 * Probabilities `[n, V]` times an embedding in 8 bits, in blocks of tokens `[blocks, tokens, D]`, the last filled up with zeros: `[n, D]`. Each row of
 * a block has a scale of its own: under one scale for the whole vocabulary, all below 1/510 of a row's largest become nothing, and with them most tokens.
 */
export function blockProduct(e: OnnxEmitter, probabilities: string, { weight, dtype, scales, shape: [blocks = 1, tokens = 1], vocabSize }: EmittedWeight & { readonly shape: readonly number[]; readonly vocabSize: number }): string {
  const missing = blocks * tokens - vocabSize;
  const filled = missing === 0 ? probabilities : e.fresh("Pad", [probabilities, e.integers([0, 0, 0, missing])]);
  const rows = e.fresh("Reshape", [filled, e.integers([-1, tokens])]);
  const largest = e.fresh("Max", [e.fresh("ReduceMax", [rows, e.integers([1])], { attributes: { keepdims: 1n } }), e.float(SMALLEST)]);
  const scale = e.fresh("Mul", [largest, e.float(1 / UNSIGNED_LIMIT)]);
  const flat = e.fresh("Reshape", [scale, e.integers([-1])]);
  const zeros = e.fresh("Expand", [e.constant(tensor("uint8", [1], Uint8Array.of(0))), e.fresh("Shape", [flat])]);
  const byBlock = (x: string, width: number): string => e.fresh("Transpose", [e.fresh("Reshape", [x, e.integers([-1, blocks, width])])], { attributes: { perm: [1n, 0n, 2n] } });
  const rounded = { rows: byBlock(e.fresh("QuantizeLinear", [rows, flat, zeros], { attributes: { axis: 0n } }), tokens), scales: byBlock(scale, 1) };
  const sum = e.fresh("ReduceSum", [byteProduct(e, rounded, { weight, dtype, scales: undefined }, 0), e.integers([0])], { attributes: { keepdims: 0n } });
  return scales === undefined ? sum : e.fresh("Mul", [sum, scales]);
}

/**
 * y = x · w ⊙ scales with x `[…, K]`, w `[K, N]` int8 or uint8 about 128, wT `[N, K]` (its transpose, for the gradient) and scales `[N]`; absent
 * scales are 1. With backScales `[K]`, wT was rounded by its own columns: wT ⊙ backScales is the transpose of w ⊙ scales as near as bytes come. The
 * reference takes x as it is: what it differs by is the rounding of rows.
 */
export const QuantizedMatMul: OpRecord<OpAttributes["QuantizedMatMul"]> = {
  precision: "inside",
  rowwise: () => "first",
  infer: (inputs) => {
    const [x, w, wT, scales, backScales] = inputs;
    if (x === undefined || w === undefined || wT === undefined) throw shapeError("QuantizedMatMul", "three to five inputs", inputs);
    const [k, n] = [dimAt(w.shape, 0), dimAt(w.shape, 1)];
    const scaled = (s: TensorType | undefined, width: Dim): boolean => s === undefined || (s.dtype === "float32" && s.shape.length === 1 && s.shape[0] === width);
    const fits = x.dtype === "float32" && isByte(w.dtype) && wT.dtype === w.dtype && x.shape.at(-1) === k && wT.shape[0] === n && wT.shape[1] === k && scaled(scales, n) && scaled(backScales, k);
    if (!fits) throw shapeError("QuantizedMatMul", "float32 […, K], int8 or uint8 [K, N] and [N, K], and float32 [N] and [K]", inputs);
    return [{ dtype: "float32", shape: x.shape.with(-1, n) }];
  },
  // Scales that both directions share lie on the contracted axis of the way back: they go into the gradient before its rows are rounded.
  gradient: ({ inputs: [x, weight, transposed, scales, backScales], gradients: [dy], needs }) => {
    if (x === undefined || weight === undefined || transposed === undefined || dy === undefined) return [];
    if (needs.slice(1).some(Boolean)) throw new Error("QuantizedMatMul: an 8-bit weight does not train");
    const dx = scales === undefined || backScales !== undefined
      ? g.quantizedMatMul(dy, { weight: transposed, scales: backScales }, { weight, scales })
      : g.quantizedMatMul(g.mul(dy, scales), { weight: transposed }, { weight });
    return [dx, undefined, undefined, undefined, undefined];
  },
  operations: ([x = []], _a, [out = []]) => 2 * (x.at(-1) ?? 1) * out.reduce((n, d) => n * d, 1),
  reference: ([x, w, , scales]) => {
    const [a, b] = [must(x, "rows"), must(w, "weight")];
    const [k = 1, n = 1] = b.shape;
    const rows = a.data.length / k;
    const zero = byteZero(b.dtype);
    const y = new Float64Array(rows * n);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < n; c++) {
        let sum = 0;
        for (let i = 0; i < k; i++) sum += (a.data[r * k + i] ?? 0) * ((b.data[i * n + c] ?? 0) - zero);
        y[r * n + c] = sum * (scales?.data[c] ?? 1);
      }
    }
    return [y];
  },
  lower: (e, { inputs: [x = "", w = "", , scales], outputs: [y = ""], inputTypes: [type, weightType], outputTypes: [out] }) => {
    const from = type?.shape ?? [];
    const to = out?.shape ?? [];
    const n = multiplyDims(...from.slice(0, -1));
    const rows = [n, dimAt(from, from.length - 1)];
    // Products of one input round its rows once; a node that nothing reads would hold what it was made from.
    let rounded: RoundedRows | undefined;
    const flatten = (): string => {
      const flat = e.reshape(x, from, rows);
      return flat === x ? x : e.declare(flat, { dtype: "float32", shape: rows });
    };
    const round = (): RoundedRows => (rounded ??= quantizeRows(e, flatten(), n));
    const once = { rows: e.once(`rounded rows of ${x}`, () => round().rows), scales: e.once(`scales of the rounded rows of ${x}`, () => round().scales) };
    const product = byteProduct(e, once, { weight: w, dtype: must(weightType, "weight").dtype, scales });
    e.reshape(product, [n, dimAt(to, to.length - 1)], to, y);
  },
};

/**
 * y = x · W or x · Wᵀ (`transB`) with W `[R, S]` in 4 bits: two elements a byte in uint8 `[R, S/2]`, the first in the low half,
 * stored as element + 8; one scale for each 32 along a row, `[R, S/32]`. W is made whole for the product and dropped after it:
 * MatMulNBits, which is for one direction, took 1.9 times as long (LOG.md).
 */
export const Int4MatMul: OpRecord<OpAttributes["Int4MatMul"]> = {
  precision: "inside",
  rowwise: () => "first",
  infer: (inputs, { transB }) => {
    const [x, data, scales] = arity3("Int4MatMul", inputs);
    const [r, half] = [data.shape[0], data.shape[1]];
    const s = typeof half === "number" ? 2 * half : -1;
    const [k, n] = transB ? [s, r] : [r, s];
    if (x.dtype !== "float32" || data.dtype !== "uint8" || n === undefined || x.shape.at(-1) !== k || scales.shape[0] !== r || scales.shape[1] !== s / g.INT4_BLOCK) throw shapeError("Int4MatMul", "float32 […, K], uint8 [R, S/2] and float32 [R, S/32]", inputs);
    return [{ dtype: "float32", shape: x.shape.with(-1, n) }];
  },
  gradient: ({ inputs: [, data, scales], gradients: [dy], attributes: { transB }, needs }) => {
    if (data === undefined || scales === undefined || dy === undefined) return [];
    if (needs.slice(1).some(Boolean)) throw new Error("Int4MatMul: a 4-bit weight does not train");
    return [g.int4MatMul(dy, data, scales, { transB: !transB }), undefined, undefined];
  },
  operations: ([x = []], _a, [out = []]) => 2 * (x.at(-1) ?? 1) * out.reduce((n, d) => n * d, 1),
  reference: ([x, data, scales], { transB }) => {
    const [a, packed] = [must(x, "rows"), must(data, "weight")];
    const [r = 1, half = 1] = packed.shape;
    const s = 2 * half;
    const weight = (row: number, column: number): number => {
      const byte = packed.data[row * half + (column >> 1)] ?? 0;
      return (((column & 1) === 0 ? byte & 15 : byte >> 4) - 8) * (scales?.data[row * (s / g.INT4_BLOCK) + Math.floor(column / g.INT4_BLOCK)] ?? 0);
    };
    const [k, n] = transB ? [s, r] : [r, s];
    const rows = a.data.length / k;
    return [Float64Array.from({ length: rows * n }, (_, at) => {
      const [row, c] = [Math.floor(at / n), at % n];
      let sum = 0;
      for (let i = 0; i < k; i++) sum += (a.data[row * k + i] ?? 0) * (transB ? weight(c, i) : weight(i, c));
      return sum;
    })];
  },
  lower: (e, { inputs: [x = "", data = "", scales = ""], outputs, inputTypes: [given, packed], attributes: { transB } }) => {
    // Row numbers that depend on the input: else the whole weight would be made once, when the session opens, and kept.
    const nothing = e.fresh("Mul", [e.fresh("Shape", [x], { attributes: { start: 0n, end: 1n } }), e.integers([0])]);
    const rows = e.fresh("Add", [e.integers(Array.from({ length: Number(packed?.shape[0] ?? 0) }, (_, i) => i)), nothing]);
    const weight = e.fresh("GatherBlockQuantized", [data, rows, scales], { domain: "com.microsoft", attributes: { bits: 4n, block_size: BigInt(g.INT4_BLOCK), gather_axis: 0n, quantize_axis: 1n } });
    const [r = 1, half = 1] = packed?.shape ?? [];
    emitProduct(e, { a: x, aShape: given?.shape ?? [], b: weight, bShape: [r, multiplyDims(2, half)], transA: false, transB, alpha: 1 }, outputs[0]);
  },
};
