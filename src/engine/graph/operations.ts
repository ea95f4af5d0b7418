/** One function per op, so that models and gradient rules read as formulas. Shapes are checked by the op's record. */
import type { DType } from "../../core/base/tensor.ts";
import { isHalf, sameShape, tensor } from "../../core/base/tensor.ts";
import { must } from "../../core/base/errors.ts";
import { narrow } from "../../core/formats/half.ts";
import type { Dim } from "./dims.ts";
import type { OpAttributes, OpName } from "./op-attributes.ts";
import type { Value } from "./value.ts";

function emitOne<K extends OpName>(op: K, inputs: readonly [Value, ...Value[]], attributes: OpAttributes[K]): Value {
  return must(inputs[0].builder.emit(op, inputs, attributes)[0], `the output of ${op}`);
}

/** A scalar of the graph that `like` belongs to: int32 or of half precision where `like` is so, else float32. Throws for a fraction as int32. */
export function scalar(like: Value, x: number): Value {
  if (like.dtype === "int32") {
    if (!Number.isInteger(x)) throw new Error(`scalar: expected a whole number beside int32, got ${x}`);
    return like.builder.constant(tensor("int32", [], Int32Array.of(x)));
  }
  if (isHalf(like.dtype)) return like.builder.constant(tensor(like.dtype, [], narrow(Float32Array.of(x), like.dtype)));
  return like.builder.constant(tensor("float32", [], Float32Array.of(x)));
}

function operand(like: Value, x: Value | number): Value {
  return typeof x === "number" ? scalar(like, x) : x;
}

/** Elementwise with NumPy's broadcasting; a number stands for a scalar of the first operand's dtype. */
export function add(a: Value, b: Value | number): Value {
  return emitOne("Add", [a, operand(a, b)], {});
}
export function sub(a: Value, b: Value | number): Value {
  return emitOne("Sub", [a, operand(a, b)], {});
}
export function mul(a: Value, b: Value | number): Value {
  return emitOne("Mul", [a, operand(a, b)], {});
}
export function div(a: Value, b: Value | number): Value {
  return emitOne("Div", [a, operand(a, b)], {});
}
export function min(a: Value, b: Value | number): Value {
  return emitOne("Min", [a, operand(a, b)], {});
}
export function max(a: Value, b: Value | number): Value {
  return emitOne("Max", [a, operand(a, b)], {});
}
export function neg(x: Value): Value {
  return emitOne("Neg", [x], {});
}
export function exp(x: Value): Value {
  return emitOne("Exp", [x], {});
}
export function log(x: Value): Value {
  return emitOne("Log", [x], {});
}
export function sqrt(x: Value): Value {
  return emitOne("Sqrt", [x], {});
}
export function sin(x: Value): Value {
  return emitOne("Sin", [x], {});
}
export function cos(x: Value): Value {
  return emitOne("Cos", [x], {});
}
export function sigmoid(x: Value): Value {
  return emitOne("Sigmoid", [x], {});
}
/** x · sigmoid(x). */
export function silu(x: Value): Value {
  return emitOne("Silu", [x], {});
}
export function tanh(x: Value): Value {
  return emitOne("Tanh", [x], {});
}
/** The error function. */
export function erf(x: Value): Value {
  return emitOne("Erf", [x], {});
}
/** max(x, 0); its slope at 0 is 0. */
export function relu(x: Value): Value {
  return emitOne("Relu", [x], {});
}
/** x · Φ(x) with the normal distribution function Φ, or its approximation by tanh. */
export function gelu(x: Value, approximate: "none" | "tanh"): Value {
  return emitOne("Gelu", [x], { approximate });
}
/** The same value, as a constant to every gradient. */
export function stopGradient(x: Value): Value {
  return emitOne("StopGradient", [x], {});
}
/** `a` where the condition holds, else `b`. */
export function where(condition: Value, a: Value, b: Value): Value {
  return emitOne("Where", [condition, a, b], {});
}
export function equal(a: Value, b: Value | number): Value {
  return emitOne("Equal", [a, operand(a, b)], {});
}
export function lessOrEqual(a: Value, b: Value | number): Value {
  return emitOne("LessOrEqual", [a, operand(a, b)], {});
}
export function and(a: Value, b: Value): Value {
  return emitOne("And", [a, b], {});
}
export function or(a: Value, b: Value): Value {
  return emitOne("Or", [a, b], {});
}
export function not(x: Value): Value {
  return emitOne("Not", [x], {});
}
export function isFinite(x: Value): Value {
  return emitOne("IsFinite", [x], {});
}
export function cast(x: Value, to: DType): Value {
  return x.dtype === to ? x : emitOne("Cast", [x], { to });
}
/** x · mask / (1 − p); `mask` is bool with x's shape. */
export function dropout(x: Value, mask: Value, p: number): Value {
  return emitOne("Dropout", [x, mask], { p });
}

/** alpha · op(a) op(b) over the last two axes; leading axes broadcast. */
export function matMul(a: Value, b: Value, options: { readonly transA?: boolean; readonly transB?: boolean; readonly alpha?: number } = {}): Value {
  return emitOne("MatMul", [a, b], { transA: options.transA ?? false, transB: options.transB ?? false, alpha: options.alpha ?? 1 });
}

/** An 8-bit weight of a product, int8 or uint8 about 128, and its scales by column (absent: 1). */
export interface ByteWeight {
  readonly weight: Value;
  readonly scales?: Value | undefined;
}

/**
 * x `[…, K]` · weight ⊙ scales with the weight `[K, N]` and scales `[N]`. The way back takes its transpose `[N, K]`: rounded by itself with
 * scales `[K]`, or without scales the same bytes, which take the scales of the way there.
 */
export function quantizedMatMul(x: Value, { weight, scales }: ByteWeight, back: ByteWeight): Value {
  const given = [scales, ...(scales === undefined ? [] : [back.scales])].filter((s) => s !== undefined);
  return emitOne("QuantizedMatMul", [x, weight, back.weight, ...given], {});
}

/** Elements of a row of a 4-bit weight that share one scale. */
export const INT4_BLOCK = 32;

/** x `[…, K]` · W, or · Wᵀ, with a 4-bit W `[R, S]` packed as uint8 `[R, S/2]` with scales `[R, S/32]`. */
export function int4MatMul(x: Value, data: Value, scales: Value, options: { readonly transB: boolean }): Value {
  return emitOne("Int4MatMul", [x, data, scales], options);
}

/** The same elements under another shape; dimensions may be symbolic. */
export function reshape(x: Value, shape: readonly Dim[]): Value {
  return sameShape(x.shape, shape) ? x : emitOne("Reshape", [x], { shape });
}
export function transpose(x: Value, permutation: readonly number[]): Value {
  return emitOne("Transpose", [x], { permutation });
}
/** Repeats axes of length 1 up to `shape`. */
export function expand(x: Value, shape: readonly Dim[]): Value {
  return sameShape(x.shape, shape) ? x : emitOne("Expand", [x], { shape });
}
/** Pieces of the given sizes along an axis. */
export function split(x: Value, axis: number, sizes: readonly Dim[]): readonly Value[] {
  return sizes.length === 1 ? [x] : x.builder.emit("Split", [x], { axis, sizes });
}
/** Joins along an axis; `size` names the joined dimension where it is symbolic. */
export function concat(parts: readonly [Value, ...Value[]], axis: number, size?: string): Value {
  return parts.length === 1 ? parts[0] : emitOne("Concat", parts, size === undefined ? { axis } : { axis, size });
}

/** Reductions keep the axes, with length 1. */
export function reduceSum(x: Value, axes: readonly number[]): Value {
  return emitOne("ReduceSum", [x], { axes });
}
export function reduceMean(x: Value, axes: readonly number[]): Value {
  return emitOne("ReduceMean", [x], { axes });
}
export function reduceMax(x: Value, axes: readonly number[]): Value {
  return emitOne("ReduceMax", [x], { axes });
}

/** Rows of a table `[V, …]` by index `[…]`. */
export function gather(table: Value, indices: Value): Value {
  return emitOne("Gather", [table, indices], {});
}
/** Rows `[C, L]` of `[C, N, D]`: `[C, L, D]`. */
export function gatherRows(x: Value, rows: Value): Value {
  return emitOne("GatherRows", [x, rows], {});
}
/** Adds `[C, L, D]` into zeros `[C, rowCount, D]` at `rows` `[C, L]`. */
export function scatterRows(x: Value, rows: Value, rowCount: Dim): Value {
  return emitOne("ScatterRows", [x, rows], { rows: rowCount });
}

/** Softmax over the last axis. */
export function softmax(x: Value): Value {
  return emitOne("Softmax", [x], {});
}
/** softmax(scores `[…, M, N]`, by rows) · values `[…, N, E]`: `[…, M, E]`. */
export function softmaxProduct(scores: Value, values: Value): Value {
  return emitOne("SoftmaxProduct", [scores, values], {});
}
/** x · weight / root-mean-square(x) over the last axis. */
export function rmsNorm(x: Value, weight: Value, epsilon: number): Value {
  return emitOne("RmsNorm", [x, weight], { epsilon });
}
/** (x − mean(x)) / deviation(x) · weight `[D]` + bias `[D]` over the last axis; epsilon is added to the variance. */
export function layerNorm(x: Value, weight: Value, bias: Value, epsilon: number): Value {
  return emitOne("LayerNorm", [x, weight, bias], { epsilon });
}
/** Rotary position embedding of `[B, T, H·E]` by cosines and sines `[B, T, E/2]`. */
export function rotaryEmbedding(x: Value, cosine: Value, sine: Value, options: { readonly inverse?: boolean } = {}): Value {
  return emitOne("RotaryEmbedding", [x, cosine, sine], { inverse: options.inverse ?? false });
}
/** −log softmax(logits `[C, L, V]`)[targets `[C, L]`]: `[C, L]`. */
export function crossEntropy(logits: Value, targets: Value): Value {
  return emitOne("CrossEntropy", [logits, targets], {});
}
/** The same for logits = hidden `[C, L, D]` · weightᵀ (`[V, D]`), soft-capped where `softCap` is given and not 0, in pieces of rows: `[C, L]`. */
export function linearCrossEntropy(hidden: Value, weight: Value, targets: Value, pieces: { readonly chunks: number; readonly minimumRows: number; readonly softCap?: number }): Value {
  return emitOne("LinearCrossEntropy", [hidden, weight, targets], { chunks: pieces.chunks, minimumRows: pieces.minimumRows, softCap: pieces.softCap ?? 0 });
}

/**
 * The same with logits from an output embedding in 8 bits (int8, or uint8 about 128), `[D, V]` with scales `[V]`. The way back takes the
 * embedding itself, `[V, D]`, or where `back` is given blocks of tokens in 8 bits, `[blocks, tokens, D]` with scales `[D]`; the targets' rows are the embedding's own.
 */
export function roundedLinearCrossEntropy(
  hidden: Value, { weight, scales, embedding, back }: { readonly weight: Value; readonly scales: Value; readonly embedding: Value; readonly back?: { readonly weight: Value; readonly scales: Value } | undefined }, targets: Value,
  pieces: { readonly chunks: number; readonly minimumRows: number; readonly softCap: number },
): Value {
  return emitOne("RoundedLinearCrossEntropy", [hidden, weight, scales, embedding, targets, ...(back === undefined ? [] : [back.weight, back.scales])], pieces);
}
