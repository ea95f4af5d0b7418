/** Softmax and the product with what it weighs, as one op: together their gradient takes one pass over the scores in place of four. */
import { isHalf, sameShape } from "../../../core/base/tensor.ts";
import { must } from "../../../core/base/errors.ts";
import { emitProduct } from "../onnx/product.ts";
import * as g from "../operations.ts";
import type { OpAttributes } from "../op-attributes.ts";
import type { Value } from "../value.ts";
import { MatMul } from "./linear.ts";
import { Softmax } from "./normalisation.ts";
import { arity2, dimAt, shapeError } from "./record.ts";
import type { OpRecord } from "./record.ts";

const PRODUCT = { transA: false, transB: false, alpha: 1 } as const;

/**
 * Y = P V with P = softmax(S) by rows, S `[…, M, N]`, V `[…, N, E]`. Its second output is P, kept for the gradient:
 * dS = P ∘ (dY Vᵀ − D) with D = rowsum(dY ∘ Y), which is rowsum(dP ∘ P) but E wide instead of N (Dao et al. 2022, appendix
 * B.2), and taken off by one more column of the product: dY Vᵀ − D = [dY, −D] [V, 1]ᵀ. One pass over the scores is left of
 * four. dV = Pᵀ dY.
 *
 * In half precision the softmax is of float32 scores, in float32; P is then rounded to the dtype of V, and the product is in it. D is
 * summed up in float32 and taken off as two halves, D ≈ ⌊D⌉ + ⌊D − ⌊D⌉⌉: where P is near 1, dY Vᵀ − D is a small difference.
 */
export const SoftmaxProduct: OpRecord<OpAttributes["SoftmaxProduct"]> = {
  precision: "scores",
  infer: (inputs) => {
    const [scores, values] = arity2("SoftmaxProduct", inputs);
    const [n, m] = [dimAt(values.shape, values.shape.length - 2), dimAt(scores.shape, scores.shape.length - 2)];
    const leading = scores.shape.slice(0, -2);
    if (scores.dtype !== values.dtype && !(scores.dtype === "float32" && isHalf(values.dtype)) || scores.shape.at(-1) !== n || !sameShape(leading, values.shape.slice(0, -2))) throw shapeError("SoftmaxProduct", "scores […, M, N] and values […, N, E], of one dtype or float32 scores", inputs);
    return [{ dtype: values.dtype, shape: [...leading, m, dimAt(values.shape, values.shape.length - 1)] }, { dtype: values.dtype, shape: scores.shape }];
  },
  gradient: ({ inputs: [scores, values], outputs: [y, p], gradients: [dy, dp], needs }) => {
    if (dp !== undefined) throw new Error("SoftmaxProduct: its second output is for its own gradient only");
    if (scores === undefined || values === undefined || y === undefined || p === undefined || dy === undefined) return [];
    const forScores = (): Value => {
      const last = y.shape.length - 1;
      const { dtype } = values;
      const sums = g.neg(g.reduceSum(g.mul(g.cast(dy, "float32"), g.cast(y, "float32")), [last])); // −D […, M, 1]
      const nearest = g.cast(sums, dtype);
      const off = isHalf(dtype) ? [nearest, g.cast(g.sub(sums, g.cast(nearest, "float32")), dtype)] : [nearest];
      const ones = g.expand(g.reshape(g.scalar(values, 1), values.shape.map(() => 1)), values.shape.with(-1, off.length)); // […, N, 1 or 2]
      const slopes = g.mul(p, g.matMul(g.concat([dy, ...off], last), g.concat([values, ones], last), { transB: true }));
      return g.cast(slopes, scores.dtype);
    };
    return [needs[0] ? forScores() : undefined, needs[1] ? g.matMul(p, dy, { transA: true }) : undefined];
  },
  reference: ([scores, values], _attributes, [out = [], shape = []]) => {
    const [s, v] = [must(scores, "scores"), must(values, "values")];
    const [p = new Float64Array()] = Softmax.reference([s], {}, [shape]);
    const [y = new Float64Array()] = MatMul.reference([{ ...s, data: p }, v], PRODUCT, [out]);
    return [y, p];
  },
  operations: ([scores = []], _attributes, [out = []]) => 2 * (scores.at(-1) ?? 1) * out.reduce((n, d) => n * d, 1),
  lower: (e, { inputs: [scores = "", values = ""], outputs: [y = "", p = ""], inputTypes: [left, right], used }) => {
    const dtype = right?.dtype ?? "float32";
    const softmax = (output: readonly string[] | number): string => must(e.node("Softmax", [isHalf(left?.dtype ?? dtype) ? e.cast(scores, "float32") : scores], output, { attributes: { axis: -1n } })[0], "Softmax");
    if (isHalf(dtype)) e.cast(softmax(1), dtype, p);
    else softmax([p]);
    if (used[0]) emitProduct(e, { a: p, aShape: left?.shape ?? [], b: values, bShape: right?.shape ?? [], ...PRODUCT, dtype }, y);
  },
};
