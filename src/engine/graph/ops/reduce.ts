/** Reductions over axes; the axes stay, with length 1. */
import type { OpAttributes } from "../op-attributes.ts";
import * as g from "../operations.ts";
import type { Value } from "../value.ts";
import { broadcastIndex } from "./elementwise.ts";
import { arity1 } from "./record.ts";
import type { GradientRule, OpRecord } from "./record.ts";

type Attributes = OpAttributes["ReduceSum"];

function reduction(op: string, start: number, step: (sum: number, x: number) => number, end: (sum: number, count: number) => number, gradient: OpRecord<Attributes>["gradient"]): OpRecord<Attributes> {
  return {
    precision: "float32",
    infer: (inputs, { axes }) => {
      const x = arity1(op, inputs);
      if (axes.some((axis) => axis < 0 || axis >= x.shape.length)) throw new Error(`${op}: axes ${axes.join(",")} are not all axes of a value of rank ${x.shape.length}`);
      return [{ dtype: x.dtype, shape: x.shape.map((d, i) => (axes.includes(i) ? 1 : d)) }];
    },
    gradient,
    reference: ([x], _a, [out = []]) => {
      const sums = new Float64Array(out.reduce((n, d) => n * d, 1)).fill(start);
      const index = broadcastIndex(out, x?.shape ?? []);
      x?.data.forEach((value, i) => (sums[index(i)] = step(sums[index(i)] ?? 0, value)));
      return [sums.map((sum) => end(sum, (x?.data.length ?? 0) / sums.length))];
    },
    lower: (e, { inputs: [x = ""], outputs, attributes: { axes } }) => void e.node(op, [x, e.integers(axes)], outputs, { attributes: { keepdims: 1n } }),
  };
}

const spread = (scaled: (x: Value, dy: Value, axes: readonly number[]) => Value): GradientRule<Attributes> => ({ inputs: [x], gradients: [dy], attributes: { axes } }) =>
  x === undefined || dy === undefined ? [] : [g.expand(scaled(x, dy, axes), x.shape)];

export const ReduceSum = reduction("ReduceSum", 0, (a, b) => a + b, (sum) => sum, spread((_x, dy) => dy));
export const ReduceMean = reduction("ReduceMean", 0, (a, b) => a + b, (sum, n) => sum / n, spread((x, dy, axes) => {
  const count = axes.reduce((n, axis) => n * Number(x.shape[axis]), 1);
  if (!Number.isInteger(count)) throw new Error("ReduceMean: no gradient over a symbolic axis");
  return g.mul(dy, 1 / count);
}));
export const ReduceMax = reduction("ReduceMax", -Infinity, Math.max, (max) => max, { none: "used only to shift exponents, where its gradient cancels" });
