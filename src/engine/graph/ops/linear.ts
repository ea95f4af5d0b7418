/** The matrix product, with transposes and a factor as attributes so that no operand is ever copied to turn it. */
import { broadcastShapes, multiplyDims } from "../dims.ts";
import type { Dim } from "../dims.ts";
import * as g from "../operations.ts";
import { emitProduct } from "../onnx/product.ts";
import type { OpAttributes } from "../op-attributes.ts";
import type { Value } from "../value.ts";
import { broadcastIndex, sumToShape } from "./elementwise.ts";
import { arity2, dimAt, shapeError } from "./record.ts";
import type { OpRecord } from "./record.ts";

type Attributes = OpAttributes["MatMul"];

function sides(shape: readonly Dim[], transposed: boolean): { readonly leading: readonly Dim[]; readonly rows: Dim; readonly columns: Dim } {
  const [r, c] = [dimAt(shape, shape.length - 2), dimAt(shape, shape.length - 1)];
  return { leading: shape.slice(0, -2), rows: transposed ? c : r, columns: transposed ? r : c };
}

/** `[…, N, D]` as `[… · N, D]`. */
function flattenRows(x: Value): Value {
  return g.reshape(x, [multiplyDims(...x.shape.slice(0, -1)), dimAt(x.shape, x.shape.length - 1)]);
}

export const MatMul: OpRecord<Attributes> = {
  precision: "half",
  rowwise: ({ transA }) => (transA ? undefined : "first"),
  infer: (inputs, { transA, transB }) => {
    const [a, b] = arity2("MatMul", inputs);
    if (a.shape.length < 2 || b.shape.length < 2 || a.dtype !== b.dtype) throw shapeError("MatMul", "two matrices of equal dtype", inputs);
    const left = sides(a.shape, transA);
    const right = sides(b.shape, transB);
    const leading = broadcastShapes(left.leading, right.leading);
    if (left.columns !== right.rows || leading === undefined) {
      throw shapeError(`MatMul${transA ? " (a transposed)" : ""}${transB ? " (b transposed)" : ""}`, "columns of the first equal to rows of the second", inputs);
    }
    return [{ dtype: a.dtype, shape: [...leading, left.rows, right.columns] }];
  },
  gradient: ({ inputs: [a, b], gradients: [dy], attributes: { transA, transB, alpha }, needs }) => {
    if (a === undefined || b === undefined || dy === undefined) return [];
    const da = (): Value => (transA ? g.matMul(b, dy, { transA: transB, transB: true, alpha }) : g.matMul(dy, b, { transB: !transB, alpha }));
    // A matrix shared by all leading axes: folding them into the contracted one makes their sum part of the product.
    const shared = b.shape.length === 2 && a.shape.length > 2 && !transA;
    const [x, dz] = shared ? [flattenRows(a), flattenRows(dy)] : [a, dy];
    const db = (): Value => (transB ? g.matMul(dz, x, { transA: true, transB: transA, alpha }) : g.matMul(x, dz, { transA: !transA, alpha }));
    return [needs[0] ? sumToShape(da(), a.shape) : undefined, needs[1] ? sumToShape(db(), b.shape) : undefined];
  },
  reference: (inputs, { transA, transB, alpha }, [out = []]) => {
    const [a, b] = inputs;
    if (a === undefined || b === undefined) return [];
    const [m, n] = [out[out.length - 2] ?? 1, out[out.length - 1] ?? 1];
    const k = a.shape[a.shape.length - (transA ? 2 : 1)] ?? 1;
    const leading = out.slice(0, -2);
    const blocks = leading.reduce((x, d) => x * d, 1);
    const aBlock = broadcastIndex(a.shape.slice(0, -2), leading);
    const bBlock = broadcastIndex(b.shape.slice(0, -2), leading);
    const result = new Float64Array(blocks * m * n);
    for (let block = 0; block < blocks; block++) {
      const [ao, bo, co] = [aBlock(block) * m * k, bBlock(block) * k * n, block * m * n];
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let sum = 0;
          for (let p = 0; p < k; p++) sum += (a.data[ao + (transA ? p * m + i : i * k + p)] ?? 0) * (b.data[bo + (transB ? j * k + p : p * n + j)] ?? 0);
          result[co + i * n + j] = alpha * sum;
        }
      }
    }
    return [result];
  },
  operations: ([a = []], { transA }, [out = []]) => 2 * (a[a.length - (transA ? 2 : 1)] ?? 1) * out.reduce((n, d) => n * d, 1),
  lower: (e, { inputs: [a = "", b = ""], outputs: [y], inputTypes: [left, right], attributes }) =>
    void emitProduct(e, { a, aShape: left?.shape ?? [], b, bShape: right?.shape ?? [], ...attributes, dtype: left?.dtype ?? "float32" }, y),
};
