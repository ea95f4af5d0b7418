/** Softmax and the product with what it weighs, as one op: together their gradient takes one pass over the scores in place of four. */
import { sameShape } from "../../../core/base/tensor.ts";
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
 */
export const SoftmaxProduct: OpRecord<OpAttributes["SoftmaxProduct"]> = {
  infer: (inputs) => {
    const [scores, values] = arity2("SoftmaxProduct", inputs);
    const [n, m] = [dimAt(values.shape, values.shape.length - 2), dimAt(scores.shape, scores.shape.length - 2)];
    const leading = scores.shape.slice(0, -2);
    if (scores.dtype !== values.dtype || scores.shape.at(-1) !== n || !sameShape(leading, values.shape.slice(0, -2))) throw shapeError("SoftmaxProduct", "scores […, M, N] and values […, N, E]", inputs);
    return [{ dtype: scores.dtype, shape: [...leading, m, dimAt(values.shape, values.shape.length - 1)] }, scores];
  },
  gradient: ({ inputs: [scores, values], outputs: [y, p], gradients: [dy, dp], needs }) => {
    if (dp !== undefined) throw new Error("SoftmaxProduct: its second output is for its own gradient only");
    if (scores === undefined || values === undefined || y === undefined || p === undefined || dy === undefined) return [];
    const forScores = (): Value => {
      const last = y.shape.length - 1;
      const sums = g.reduceSum(g.mul(dy, y), [last]); // […, M, 1]
      const ones = g.expand(g.reshape(g.scalar(values, 1), values.shape.map(() => 1)), values.shape.with(-1, 1)); // […, N, 1]
      return g.mul(p, g.matMul(g.concat([dy, g.neg(sums)], last), g.concat([values, ones], last), { transB: true }));
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
    e.node("Softmax", [scores], [p], { attributes: { axis: -1n } });
    if (used[0]) emitProduct(e, { a: p, aShape: left?.shape ?? [], b: values, bShape: right?.shape ?? [], ...PRODUCT }, y);
  },
};
