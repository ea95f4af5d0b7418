/** Arithmetic and comparison, element by element with NumPy's broadcasting. */
import type { DType } from "../../../core/base/tensor.ts";
import { isHalf, isReal, sameShape } from "../../../core/base/tensor.ts";
import { broadcastShapes } from "../dims.ts";
import { emitSine } from "../onnx/trigonometry.ts";
import * as g from "../operations.ts";
import type { TensorType } from "../types.ts";
import type { Value } from "../value.ts";
import { arity1, arity2, arity3, shapeError } from "./record.ts";
import type { GradientContext, GradientRule, LoweredNode, OpRecord, PrecisionPolicy, ReferenceTensor } from "./record.ts";

type None = Readonly<Record<never, never>>;
type Rule = GradientRule<None>;

/** Sums a gradient over the axes along which its input was broadcast. */
export function sumToShape(gradient: Value, shape: TensorType["shape"]): Value {
  if (sameShape(gradient.shape, shape)) return gradient;
  const extra = gradient.shape.length - shape.length;
  const axes = gradient.shape.flatMap((dim, i) => (i < extra || (shape[i - extra] === 1 && dim !== 1) ? [i] : []));
  // Sums over many rows are taken in float32.
  return g.reshape(axes.length === 0 ? gradient : g.cast(g.reduceSum(isHalf(gradient.dtype) ? g.cast(gradient, "float32") : gradient, axes), gradient.dtype), shape);
}

function broadcast(op: string, types: readonly TensorType[], dtype: DType): TensorType[] {
  let shape: TensorType["shape"] = [];
  for (const type of types) {
    const joined = broadcastShapes(shape, type.shape);
    if (joined === undefined) throw shapeError(op, "shapes that broadcast", types);
    shape = joined;
  }
  return [{ dtype, shape }];
}

/** Index into an input of `shape` for each element of a result of shape `out`. */
export function broadcastIndex(shape: readonly number[], out: readonly number[]): (flat: number) => number {
  const extra = out.length - shape.length;
  const strides: number[] = [];
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = shape[i] === 1 ? 0 : stride;
    stride *= shape[i] ?? 1;
  }
  return (flat) => {
    let index = 0;
    let rest = flat;
    for (let i = out.length - 1; i >= 0; i--) {
      const dim = out[i] ?? 1;
      index += (rest % dim) * (i >= extra ? (strides[i - extra] ?? 0) : 0);
      rest = Math.floor(rest / dim);
    }
    return index;
  };
}

/** The reference of an op element by element: `f` of the inputs' elements, broadcast to shape `out`. */
export function mapReference(inputs: readonly ReferenceTensor[], out: readonly number[], f: (...x: number[]) => number): Float64Array[] {
  const size = out.reduce((n, d) => n * d, 1);
  const readers = inputs.map((t) => {
    const index = broadcastIndex(t.shape, out);
    return (i: number) => t.data[index(i)] ?? 0;
  });
  return [Float64Array.from({ length: size }, (_, i) => f(...readers.map((read) => read(i))))];
}

const lowerAs = (op: string) => (e: Parameters<OpRecord<None>["lower"]>[0], node: LoweredNode<None>) => void e.node(op, node.inputs, node.outputs);

/** An op of one input, element by element; ONNX calls it the same. */
export function unary(op: string, f: (x: number) => number, gradient: Rule, precision: PrecisionPolicy = "half"): OpRecord<None> {
  return {
    infer: (inputs) => [arity1(op, inputs)],
    gradient,
    precision,
    rowwise: () => "all",
    reference: (inputs, _a, [out = []]) => mapReference(inputs, out, f),
    lower: lowerAs(op),
  };
}

function binary(op: string, f: (a: number, b: number) => number, gradient: Rule | { readonly none: string }): OpRecord<None> {
  return {
    precision: "half",
    rowwise: () => "all",
    infer: (inputs) => {
      const [a, b] = arity2(op, inputs);
      if (a.dtype !== b.dtype) throw shapeError(op, "equal dtypes", inputs);
      return broadcast(op, inputs, a.dtype);
    },
    gradient,
    reference: (inputs, _a, [out = []]) => mapReference(inputs, out, (a = 0, b = 0) => f(a, b)),
    lower: lowerAs(op),
  };
}

function comparison(op: string, f: (a: number, b: number) => boolean): OpRecord<None> {
  const record = binary(op, (a, b) => Number(f(a, b)), { none: "a truth value has no gradient" });
  return { ...record, precision: "float32", infer: (inputs) => record.infer(inputs, {}).map((t) => ({ ...t, dtype: "bool" as const })) };
}

/** Unpacks a rule's context for ops with one output. */
export function parts({ inputs, outputs, gradients, needs }: GradientContext<unknown>): { a: Value; b: Value; y: Value; dy: Value; needs: readonly boolean[] } {
  const [a, b = a] = inputs;
  const [y] = outputs;
  const [dy] = gradients;
  if (a === undefined || b === undefined || y === undefined || dy === undefined) throw new Error("gradient rule called without a gradient");
  return { a, b, y, dy, needs };
}

/** A rule for two inputs; each side is made only where it is needed and summed over broadcast axes. */
function binaryRule(left: (p: ReturnType<typeof parts>) => Value, right: (p: ReturnType<typeof parts>) => Value): Rule {
  return (context) => {
    const p = parts(context);
    return [p.needs[0] ? sumToShape(left(p), p.a.shape) : undefined, p.needs[1] ? sumToShape(right(p), p.b.shape) : undefined];
  };
}

/** A rule for one input. */
export function unaryRule(f: (p: ReturnType<typeof parts>) => Value): Rule {
  return (context) => [f(parts(context))];
}

export const Add = binary("Add", (a, b) => a + b, binaryRule(({ dy }) => dy, ({ dy }) => dy));
export const Sub = binary("Sub", (a, b) => a - b, binaryRule(({ dy }) => dy, ({ dy }) => g.neg(dy)));
export const Mul = binary("Mul", (a, b) => a * b, binaryRule(({ dy, b }) => g.mul(dy, b), ({ dy, a }) => g.mul(dy, a)));
const division = binary("Div", (a, b) => a / b, binaryRule(({ dy, b }) => g.div(dy, b), ({ dy, y, b }) => g.neg(g.div(g.mul(dy, y), b))));
/** Of real numbers only: whole numbers would be rounded, which neither the reference nor the gradient does. */
export const Div: OpRecord<None> = {
  ...division,
  precision: "inside",
  infer: (inputs, attributes) => {
    if (inputs.some(({ dtype }) => dtype.includes("int"))) throw shapeError("Div", "real numbers", inputs);
    return division.infer(inputs, attributes);
  },
};
/** Where both are equal, the first takes the gradient. */
export const Min = binary("Min", Math.min, binaryRule(
  ({ dy, a, b }) => g.where(g.lessOrEqual(a, b), dy, g.scalar(dy, 0)),
  ({ dy, a, b }) => g.where(g.lessOrEqual(a, b), g.scalar(dy, 0), dy),
));
/** As `Min`. */
export const Max = binary("Max", Math.max, binaryRule(
  ({ dy, a, b }) => g.where(g.lessOrEqual(b, a), dy, g.scalar(dy, 0)),
  ({ dy, a, b }) => g.where(g.lessOrEqual(b, a), g.scalar(dy, 0), dy),
));

export const Neg = unary("Neg", (x) => -x, unaryRule(({ dy }) => g.neg(dy)));
export const Exp = unary("Exp", Math.exp, unaryRule(({ dy, y }) => g.mul(dy, y)), "inside");
export const Log = unary("Log", Math.log, unaryRule(({ dy, a }) => g.div(dy, a)), "float32");
export const Sqrt = unary("Sqrt", Math.sqrt, unaryRule(({ dy, y }) => g.div(dy, g.mul(y, 2))), "float32");
/** By the device's own function, or by a series where that is coarse. */
const lowerAngle = (op: "Sin" | "Cos"): OpRecord<None>["lower"] => (e, node) => {
  const { inputs: [x = ""], outputs: [output = ""] } = node;
  if (e.device === "webgpu") emitSine(e, x, { cosine: op === "Cos", output });
  else lowerAs(op)(e, node);
};
export const Sin: OpRecord<None> = { ...unary("Sin", Math.sin, unaryRule(({ dy, a }) => g.mul(dy, g.cos(a))), "float32"), lower: lowerAngle("Sin") };
export const Cos: OpRecord<None> = { ...unary("Cos", Math.cos, unaryRule(({ dy, a }) => g.neg(g.mul(dy, g.sin(a)))), "float32"), lower: lowerAngle("Cos") };

export const Equal = comparison("Equal", (a, b) => a === b);
export const LessOrEqual: OpRecord<None> = { ...comparison("LessOrEqual", (a, b) => a <= b), lower: lowerAs("LessOrEqual") };
export const And = comparison("And", (a, b) => a !== 0 && b !== 0);
export const Or: OpRecord<None> = {
  ...comparison("Or", (a, b) => a !== 0 || b !== 0),
  lower: (e, node) => {
    // WebGPU has And but no Or.
    if (e.device === "webgpu") e.node("Not", [e.fresh("And", node.inputs.map((x) => e.fresh("Not", [x])))], node.outputs);
    else lowerAs("Or")(e, node);
  },
};

export const Not: OpRecord<None> = {
  precision: "float32",
  rowwise: () => "all",
  infer: (inputs) => {
    const x = arity1("Not", inputs);
    if (x.dtype !== "bool") throw shapeError("Not", "truth values", inputs);
    return [x];
  },
  gradient: { none: "a truth value has no gradient" },
  reference: (inputs, _a, [out = []]) => mapReference(inputs, out, (x = 0) => Number(x === 0)),
  lower: lowerAs("Not"),
};

export const Where: OpRecord<None> = {
  precision: "moves",
  rowwise: () => "all",
  infer: (inputs) => {
    const [condition, a, b] = arity3("Where", inputs);
    if (condition.dtype !== "bool" || a.dtype !== b.dtype) throw shapeError("Where", "a bool condition and two values of equal dtype", inputs);
    return broadcast("Where", inputs, a.dtype);
  },
  gradient: ({ inputs: [condition, a, b], gradients: [dy], needs }) => {
    if (condition === undefined || a === undefined || b === undefined || dy === undefined) return [];
    const zero = g.scalar(dy, 0);
    return [
      undefined,
      needs[1] ? sumToShape(g.where(condition, dy, zero), a.shape) : undefined,
      needs[2] ? sumToShape(g.where(condition, zero, dy), b.shape) : undefined,
    ];
  },
  reference: (inputs, _a, [out = []]) => mapReference(inputs, out, (c = 0, a = 0, b = 0) => (c !== 0 ? a : b)),
  lower: lowerAs("Where"),
};

export const IsFinite: OpRecord<None> = {
  precision: "float32",
  rowwise: () => "all",
  infer: (inputs) => [{ dtype: "bool", shape: arity1("IsFinite", inputs).shape }],
  gradient: { none: "a truth value has no gradient" },
  reference: (inputs, _a, [out = []]) => mapReference(inputs, out, (x = 0) => Number(Number.isFinite(x))),
  // x − x is 0 where x is finite and NaN elsewhere; Equal is false on NaN.
  lower: (e, { inputs: [x = ""], outputs }) => void e.node("Equal", [e.fresh("Sub", [x, x]), e.float(0)], outputs),
};

/** onnxruntime removes an Identity when it opens the graph. */
export const StopGradient: OpRecord<None> = {
  precision: "moves",
  rowwise: () => "all",
  infer: (inputs) => [arity1("StopGradient", inputs)],
  gradient: "stops",
  view: true,
  reference: (inputs, _a, [out = []]) => mapReference(inputs, out, (x = 0) => x),
  lower: lowerAs("Identity"),
};

export const Cast: OpRecord<{ readonly to: DType }> = {
  precision: "float32",
  rowwise: () => "all",
  infer: (inputs, { to }) => [{ dtype: to, shape: arity1("Cast", inputs).shape }],
  gradient: ({ inputs: [x], gradients: [dy], attributes: { to } }) => {
    if (x === undefined || dy === undefined) return [];
    if (!isReal(to)) throw new Error(`Cast to ${to} has no gradient: its result is not a real number`);
    return [g.cast(dy, x.dtype)];
  },
  reference: (inputs, { to }, [out = []]) =>
    mapReference(inputs, out, (x = 0) => (to === "bool" ? Number(x !== 0) : to === "int32" || to === "int64" ? Math.trunc(x) : x)),
  lower: (e, { inputs: [x = ""], outputs: [y = ""], attributes }) => void e.node("Identity", [e.cast(x, attributes.to)], [y]),
};

export const Dropout: OpRecord<{ readonly p: number }> = {
  precision: "half",
  rowwise: () => "all",
  infer: (inputs) => {
    const [x, mask] = arity2("Dropout", inputs);
    if (mask.dtype !== "bool" || !sameShape(x.shape, mask.shape)) throw shapeError("Dropout", "a bool mask of the value's shape", inputs);
    return [x];
  },
  gradient: ({ inputs: [, mask], gradients: [dy], attributes: { p } }) => (mask === undefined || dy === undefined ? [] : [g.dropout(dy, mask, p), undefined]),
  reference: (inputs, { p }, [out = []]) => mapReference(inputs, out, (x = 0, keep = 0) => (x * keep) / (1 - p)),
  lower: (e, { inputs: [x = "", mask = ""], inputTypes: [type], outputs, attributes: { p } }) =>
    void e.node("Mul", [e.fresh("Where", [mask, x, e.float(0, type?.dtype)]), e.float(1 / (1 - p), type?.dtype)], outputs),
};
