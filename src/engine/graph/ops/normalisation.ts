/** Softmax, root-mean-square norm, layer norm and rotary embedding: ops over the last axis. */
import { sameShape } from "../../../core/base/tensor.ts";
import { must } from "../../../core/base/errors.ts";
import { multiplyDims } from "../dims.ts";
import type { OpAttributes } from "../op-attributes.ts";
import * as g from "../operations.ts";
import type { Value } from "../value.ts";
import { sumToShape } from "./elementwise.ts";
import { arity1, arity2, arity3, shapeError } from "./record.ts";
import type { OpRecord } from "./record.ts";

export const Softmax: OpRecord<OpAttributes["Softmax"]> = {
  precision: "inside",
  rowwise: () => "first",
  infer: (inputs) => [arity1("Softmax", inputs)],
  gradient: ({ inputs: [x], outputs: [y], gradients: [dy] }) => {
    if (x === undefined || y === undefined || dy === undefined) return [];
    return [g.mul(y, g.sub(dy, g.reduceSum(g.mul(dy, y), [x.shape.length - 1])))];
  },
  reference: ([x]) => {
    const { shape, data } = must(x, "input of Softmax");
    const n = shape[shape.length - 1] ?? 1;
    const y = new Float64Array(data.length);
    for (let at = 0; at < data.length; at += n) {
      const row = data.subarray(at, at + n);
      const max = row.reduce((a, b) => Math.max(a, b), -Infinity);
      const sum = row.reduce((a, b) => a + Math.exp(b - max), 0);
      row.forEach((value, i) => (y[at + i] = Math.exp(value - max) / sum));
    }
    return [y];
  },
  lower: (e, { inputs, outputs }) => void e.node("Softmax", inputs, outputs, { attributes: { axis: -1n } }),
};

/**
 * y = x · r · w with r = (mean(x²) + ε)^−½. Its second output is r, kept for the gradient:
 * dx = r · (g − x · r² · mean(g · x)) with g = dy · w.
 */
export const RmsNorm: OpRecord<OpAttributes["RmsNorm"]> = {
  precision: "inside",
  rowwise: () => "first",
  infer: (inputs) => {
    const [x, w] = arity2("RmsNorm", inputs);
    if (w.shape.length !== 1 || w.shape[0] !== x.shape[x.shape.length - 1]) throw shapeError("RmsNorm", "a weight as long as the last axis", inputs);
    return [x, { dtype: x.dtype, shape: x.shape.with(-1, 1) }];
  },
  gradient: ({ inputs: [x, w], outputs: [, r], gradients: [dy, dr], needs }) => {
    if (dr !== undefined) throw new Error("RmsNorm: its second output is for its own gradient only");
    if (x === undefined || w === undefined || r === undefined || dy === undefined) return [];
    const last = x.shape.length - 1;
    const scaled = g.mul(dy, w);
    const projection = g.mul(g.mul(r, r), g.reduceMean(g.mul(scaled, x), [last]));
    return [
      needs[0] ? g.mul(r, g.sub(scaled, g.mul(x, projection))) : undefined,
      needs[1] ? sumToShape(g.mul(dy, g.mul(x, r)), w.shape) : undefined,
    ];
  },
  reference: ([x, w], { epsilon }) => {
    const { shape, data } = must(x, "input of RmsNorm");
    const n = shape[shape.length - 1] ?? 1;
    const r = Float64Array.from({ length: data.length / n }, (_, row) => {
      const values = data.subarray(row * n, row * n + n);
      return 1 / Math.sqrt(values.reduce((a, b) => a + b * b, 0) / n + epsilon);
    });
    return [data.map((value, i) => value * (r[Math.floor(i / n)] ?? 0) * (w?.data[i % n] ?? 0)), r];
  },
  lower: (e, { inputs, outputs: [y = "", r = ""], attributes: { epsilon }, used }) => {
    // WebGPU's kernel leaves its second output unwritten.
    const apart = used[1] === true && e.device === "webgpu";
    e.node("SimplifiedLayerNormalization", inputs, used[1] && !apart ? [y, r] : [y], { attributes: { axis: -1n, epsilon, stash_type: 1n } });
    if (!apart) return;
    const [x = ""] = inputs;
    const square = e.fresh("ReduceMean", [e.fresh("Mul", [x, x]), e.integers([-1])], { attributes: { keepdims: 1n } });
    e.node("Div", [e.float(1), e.fresh("Sqrt", [e.fresh("Add", [square, e.float(epsilon)])])], [r]);
  },
};

/**
 * y = (x − m) · r · w + b with m = mean(x), r = (mean((x − m)²) + ε)^−½. Its further outputs are m and r, kept for the
 * gradient: dx = r · (g − (x − m) · r² · mean(g · (x − m)) − mean(g)) with g = dy · w.
 */
export const LayerNorm: OpRecord<OpAttributes["LayerNorm"]> = {
  precision: "inside",
  rowwise: () => "first",
  infer: (inputs) => {
    const [x, w, b] = arity3("LayerNorm", inputs);
    if (w.shape.length !== 1 || w.shape[0] !== x.shape[x.shape.length - 1] || !sameShape(w.shape, b.shape)) throw shapeError("LayerNorm", "a weight and a bias as long as the last axis", inputs);
    const row = { dtype: x.dtype, shape: x.shape.with(-1, 1) };
    return [x, row, row];
  },
  gradient: ({ inputs: [x, w, b], outputs: [, m, r], gradients: [dy, dm, dr], needs }) => {
    if (dm !== undefined || dr !== undefined) throw new Error("LayerNorm: its further outputs are for its own gradient only");
    if (x === undefined || w === undefined || b === undefined || m === undefined || r === undefined || dy === undefined) return [];
    const last = [x.shape.length - 1];
    const centred = g.sub(x, m);
    const forInput = (): Value => {
      const scaled = g.mul(dy, w);
      const projection = g.mul(g.mul(r, r), g.reduceMean(g.mul(scaled, centred), last));
      return g.mul(r, g.sub(g.sub(scaled, g.mul(centred, projection)), g.reduceMean(scaled, last)));
    };
    return [
      needs[0] ? forInput() : undefined,
      needs[1] ? sumToShape(g.mul(dy, g.mul(centred, r)), w.shape) : undefined,
      needs[2] ? sumToShape(dy, b.shape) : undefined,
    ];
  },
  reference: ([x, w, b], { epsilon }) => {
    const { shape, data } = must(x, "input of LayerNorm");
    const n = shape[shape.length - 1] ?? 1;
    const rows = Array.from({ length: data.length / n }, (_, row) => data.subarray(row * n, row * n + n));
    const m = Float64Array.from(rows, (row) => row.reduce((sum, v) => sum + v, 0) / n);
    const r = Float64Array.from(rows, (row, i) => 1 / Math.sqrt(row.reduce((sum, v) => sum + (v - (m[i] ?? 0)) ** 2, 0) / n + epsilon));
    const y = data.map((value, i) => {
      const row = Math.floor(i / n);
      return (value - (m[row] ?? 0)) * (r[row] ?? 0) * (w?.data[i % n] ?? 0) + (b?.data[i % n] ?? 0);
    });
    return [y, m, r];
  },
  lower: (e, { inputs, outputs: [y = "", m = "", r = ""], attributes: { epsilon }, used }) =>
    void e.node("LayerNormalization", inputs, used[1] || used[2] ? [y, m, r] : [y], { attributes: { axis: -1n, epsilon, stash_type: 1n } }),
};

export const RotaryEmbedding: OpRecord<OpAttributes["RotaryEmbedding"]> = {
  precision: "moves",
  infer: (inputs) => {
    const [x, cosine, sine] = arity3("RotaryEmbedding", inputs);
    const [half, width] = [cosine.shape[2], x.shape[2]];
    if (x.shape.length !== 3 || !sameShape(cosine.shape, sine.shape) || !sameShape(x.shape.slice(0, 2), cosine.shape.slice(0, 2)) || typeof half !== "number" || typeof width !== "number" || width % (2 * half) !== 0) {
      throw shapeError("RotaryEmbedding", "[B, T, H·E] with cosines and sines [B, T, E/2]", inputs);
    }
    return [x];
  },
  gradient: ({ inputs: [, cosine, sine], gradients: [dy], attributes: { inverse } }) =>
    cosine === undefined || sine === undefined || dy === undefined ? [] : [g.rotaryEmbedding(dy, cosine, sine, { inverse: !inverse }), undefined, undefined],
  reference: ([x, cosine, sine], { inverse }) => {
    const { shape, data } = must(x, "input of RotaryEmbedding");
    const half = cosine?.shape[2] ?? 1;
    const width = shape[2] ?? 1;
    const y = new Float64Array(data.length);
    data.forEach((value, i) => {
      const token = Math.floor(i / width);
      const inHead = i % (2 * half);
      const pair = inHead % half;
      const c = cosine?.data[token * half + pair] ?? 0;
      const s = (sine?.data[token * half + pair] ?? 0) * (inverse ? -1 : 1);
      y[i] = inHead < half ? value * c - (data[i + half] ?? 0) * s : value * c + (data[i - half] ?? 0) * s;
    });
    return [y];
  },
  // The cosines of all tokens serve as the op's table; token i of the batch looks up row i.
  lower: (e, { inputs: [x = "", cosine = "", sine = ""], outputs, inputTypes: [, type], attributes: { inverse } }) => {
    const [b = 1, t = 1, half = 1] = type?.shape ?? [];
    const tokens = multiplyDims(b, t);
    const ids = e.fresh("Range", [e.fresh("Squeeze", [e.integers([0])]), e.fresh("Squeeze", [e.shape([tokens])]), e.fresh("Squeeze", [e.integers([1])])]);
    const table = (values: string): string => e.reshape(values, [b, t, half], [tokens, half]);
    const signed = inverse ? e.fresh("Neg", [sine]) : sine;
    e.node("RotaryEmbedding", [x, e.reshape(ids, [tokens], [b, t]), table(cosine), table(signed)], outputs, { domain: "com.microsoft" });
  },
};

