/** What every op must say of itself; the record of all ops is total over this. */
import type { DType } from "../../../core/base/tensor.ts";
import { formatShape } from "../../../core/base/tensor.ts";
import type { Value } from "../value.ts";
import type { Dim } from "../dims.ts";
import type { OnnxEmitter } from "../onnx/emitter.ts";
import type { TensorType } from "../types.ts";

/** A tensor of the float64 reference: every dtype is held in doubles; bool as 0 and 1. */
export interface ReferenceTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export interface GradientContext<A> {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attributes: A;
  /** Gradient of the loss with respect to each output; undefined where it is zero. */
  readonly gradients: readonly (Value | undefined)[];
  /** Which inputs need a gradient. */
  readonly needs: readonly boolean[];
}

/** Emits nodes for the gradient of each input; undefined where it is zero or not needed. */
export type GradientRule<A> = (context: GradientContext<A>) => readonly (Value | undefined)[];

/**
 * How an op runs where activations and the base are held in half precision (`passes/half-precision.ts`).
 * - `half`: in half precision where all its real operands are so; beside a float32 one (an adapter's tensor) in float32.
 * - `moves`: it moves or selects elements; in half precision where any real operand is so.
 * - `inside`: computed in float32; its first output goes on in half precision where an operand came so.
 * - `float32`: computed in float32, and its outputs stay so: sums, statistics, losses, angles, comparisons.
 * - `scores`: its first operand, scores under a softmax, in float32; the others, and all its outputs, as in `half`.
 * - `stored`: takes operands of both kinds as they are held; its outputs are float32.
 */
export type PrecisionPolicy = "half" | "moves" | "inside" | "float32" | "scores" | "stored";

export interface OpRecord<A> {
  /** Types of the outputs. Throws a shape error that names the op and the shapes. */
  infer(inputs: readonly TensorType[], attributes: A): readonly TensorType[];
  /** Reverse-mode rule; or the reason why there is none; or that the op's outputs are constants to every gradient. */
  readonly gradient: GradientRule<A> | { readonly none: string } | "stops";
  /** Value in float64; shapes are concrete. `outputs` are the concrete shapes of the results. */
  reference(inputs: readonly ReferenceTensor[], attributes: A, outputs: readonly (readonly number[])[]): readonly Float64Array[];
  /** How it runs in half precision. */
  readonly precision: PrecisionPolicy;
  /** Whether the output is the first input's memory under another shape. */
  readonly view?: true;
  /**
   * Whether row n of its outputs `[C, N, …]` is made of row n of operands `[C, N, …]` alone: of each operand that has rows (`all`), or of
   * the first, the others being weights (`first`). Absent or undefined: no.
   */
  rowwise?(attributes: A): "all" | "first" | undefined;
  /** Additions and multiplications of a matrix product by the concrete shapes; absent: the op costs what moving its tensors costs. */
  operations?(inputs: readonly (readonly number[])[], attributes: A, outputs: readonly (readonly number[])[]): number;
  /** The same in ONNX nodes. */
  lower(emitter: OnnxEmitter, node: LoweredNode<A>): void;
}

export interface LoweredNode<A> {
  readonly attributes: A;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly inputTypes: readonly TensorType[];
  readonly outputTypes: readonly TensorType[];
  /** Whether each output is read by anything. */
  readonly used: readonly boolean[];
}

/** The error of shapes or dtypes that do not fit. */
export function shapeError(op: string, expected: string, inputs: readonly TensorType[]): Error {
  return new Error(`${op}: expected ${expected}, got ${inputs.map((t) => `${t.dtype}${formatShape(t.shape)}`).join(" and ")}`);
}

/** Axis `axis` of a shape, or a shape error. */
export function dimAt(shape: readonly Dim[], axis: number): Dim {
  const dim = shape[axis];
  if (dim === undefined) throw new Error(`axis ${axis} of ${formatShape(shape)} does not exist`);
  return dim;
}

/** The first input types of an op as a tuple; the arity is checked here. */
export function arity1(op: string, inputs: readonly TensorType[]): TensorType {
  const [a] = inputs;
  if (a === undefined || inputs.length !== 1) throw shapeError(op, "one input", inputs);
  return a;
}
export function arity2(op: string, inputs: readonly TensorType[]): readonly [TensorType, TensorType] {
  const [a, b] = inputs;
  if (a === undefined || b === undefined || inputs.length !== 2) throw shapeError(op, "two inputs", inputs);
  return [a, b];
}
export function arity3(op: string, inputs: readonly TensorType[]): readonly [TensorType, TensorType, TensorType] {
  const [a, b, c] = inputs;
  if (a === undefined || b === undefined || c === undefined || inputs.length !== 3) throw shapeError(op, "three inputs", inputs);
  return [a, b, c];
}
