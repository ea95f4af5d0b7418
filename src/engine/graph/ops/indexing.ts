/** Rows by index: embedding look-ups, and the labelled rows of each client. */
import { sameShape } from "../../../core/base/tensor.ts";
import { must } from "../../../core/base/errors.ts";
import { multiplyDims } from "../dims.ts";
import type { Dim } from "../dims.ts";
import type { OnnxEmitter } from "../onnx/emitter.ts";
import type { OpAttributes } from "../op-attributes.ts";
import * as g from "../operations.ts";
import { arity2, dimAt, shapeError } from "./record.ts";
import type { OpRecord } from "./record.ts";

export const Gather: OpRecord<OpAttributes["Gather"]> = {
  precision: "moves",
  infer: (inputs) => {
    const [table, indices] = arity2("Gather", inputs);
    if (indices.dtype !== "int32" || table.shape.length < 1) throw shapeError("Gather", "a table and int32 indices", inputs);
    return [{ dtype: table.dtype, shape: [...indices.shape, ...table.shape.slice(1)] }];
  },
  gradient: ({ inputs: [table, indices], gradients: [dy] }) => {
    if (table === undefined || indices === undefined || dy === undefined) return [];
    const [count, width] = [multiplyDims(...indices.shape), multiplyDims(...table.shape.slice(1))];
    const summed = g.scatterRows(g.reshape(dy, [1, count, width]), g.reshape(indices, [1, count]), dimAt(table.shape, 0));
    return [g.reshape(summed, table.shape), undefined];
  },
  reference: ([table, indices]) => {
    const width = must(table, "table").shape.slice(1).reduce((n, d) => n * d, 1);
    return [Float64Array.from({ length: (indices?.data.length ?? 0) * width }, (_, i) => table?.data[(indices?.data[Math.floor(i / width)] ?? 0) * width + (i % width)] ?? 0)];
  },
  lower: (e, { inputs, outputs }) => void e.node("Gather", inputs, outputs, { attributes: { axis: 0n } }),
};

/** `[C, L]` row numbers within each client as `[C, L]` row numbers of the flattened `[C · rows, D]`, int64; int32 on WebGPU, which has no other. */
function flatRows(e: OnnxEmitter, rows: string, clients: Dim, rowCount: Dim): string {
  const narrow = e.device === "webgpu";
  const wide = narrow ? rows : e.cast(rows, "int64");
  if (clients === 1) return wide;
  const client = e.fresh("Range", [e.fresh("Squeeze", [e.integers([0])]), e.fresh("Squeeze", [e.shape([clients])]), e.fresh("Squeeze", [e.integers([1])])]);
  const offset = e.fresh("Mul", [e.fresh("Unsqueeze", [client, e.integers([1])]), e.shape([rowCount])]);
  return e.fresh("Add", [wide, narrow ? e.cast(offset, "int32") : offset]);
}

export const GatherRows: OpRecord<OpAttributes["GatherRows"]> = {
  precision: "moves",
  infer: (inputs) => {
    const [x, rows] = arity2("GatherRows", inputs);
    if (x.shape.length !== 3 || rows.shape.length !== 2 || rows.dtype !== "int32" || x.shape[0] !== rows.shape[0]) throw shapeError("GatherRows", "[C, N, D] and int32 [C, L]", inputs);
    return [{ dtype: x.dtype, shape: [dimAt(x.shape, 0), dimAt(rows.shape, 1), dimAt(x.shape, 2)] }];
  },
  gradient: ({ inputs: [x, rows], gradients: [dy] }) => (x === undefined || rows === undefined || dy === undefined ? [] : [g.scatterRows(dy, rows, dimAt(x.shape, 1)), undefined]),
  reference: ([x, rows], _a, [out = []]) => {
    const [, n = 0, d = 0] = x?.shape ?? [];
    const [c = 0, l = 0] = out;
    const y = new Float64Array(c * l * d);
    for (let i = 0; i < c * l; i++) {
      const from = (Math.floor(i / l) * n + (rows?.data[i] ?? 0)) * d;
      y.set(must(x, "input").data.subarray(from, from + d), i * d);
    }
    return [y];
  },
  lower: (e, { inputs: [x = "", rows = ""], outputs, inputTypes: [type] }) => {
    const [c = 1, n = 1, d = 1] = type?.shape ?? [];
    e.node("Gather", [e.reshape(x, [c, n, d], [multiplyDims(c, n), d]), flatRows(e, rows, c, n)], outputs, { attributes: { axis: 0n } });
  },
};

export const ScatterRows: OpRecord<OpAttributes["ScatterRows"]> = {
  precision: "moves",
  infer: (inputs, { rows: count }) => {
    const [x, rows] = arity2("ScatterRows", inputs);
    if (x.shape.length !== 3 || rows.dtype !== "int32" || !sameShape(x.shape.slice(0, 2), rows.shape)) throw shapeError("ScatterRows", "[C, L, D] and int32 [C, L]", inputs);
    return [{ dtype: x.dtype, shape: [dimAt(x.shape, 0), count, dimAt(x.shape, 2)] }];
  },
  gradient: ({ inputs: [, rows], gradients: [dy] }) => (rows === undefined || dy === undefined ? [] : [g.gatherRows(dy, rows), undefined]),
  reference: ([x, rows], _a, [out = []]) => {
    const [c = 0, n = 0, d = 0] = out;
    const l = x?.shape[1] ?? 0;
    const y = new Float64Array(c * n * d);
    x?.data.forEach((value, i) => {
      const row = Math.floor(i / d);
      const at = (Math.floor(row / l) * n + (rows?.data[row] ?? 0)) * d + (i % d);
      y[at] = (y[at] ?? 0) + value;
    });
    return [y];
  },
  lower: (e, { inputs: [x = "", rows = ""], outputs: [y = ""], inputTypes: [type], outputTypes: [out] }) => {
    const [c = 1, l = 1, d = 1] = type?.shape ?? [];
    const n = out?.shape[1] ?? 1;
    const updates = multiplyDims(c, l);
    const flat = e.reshape(flatRows(e, rows, c, n), [c, l], [updates, 1]);
    const size = e.shape([multiplyDims(c, n), d]);
    // WebGPU would make the former's zeros on the CPU and copy them.
    const zeros = e.device === "webgpu" || type?.dtype !== "float32" ? e.fresh("Expand", [e.float(0, type?.dtype), size]) : e.fresh("ConstantOfShape", [size]);
    // Not ScatterND: onnxruntime adds its rows from several threads without a lock, so that repeated rows lose sums.
    const everywhere = e.fresh("Expand", [flat, e.shape([updates, d])]);
    const sum = e.fresh("ScatterElements", [zeros, everywhere, e.reshape(x, [c, l, d], [updates, d])], { attributes: { axis: 0n, reduction: "add" } });
    e.reshape(sum, [multiplyDims(c, n), d], [c, n, d], y);
  },
};
