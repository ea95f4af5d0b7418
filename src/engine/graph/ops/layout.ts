/** Ops that move or rename elements without changing them. */
import { formatShape } from "../../../core/base/tensor.ts";
import { must } from "../../../core/base/errors.ts";
import { factorOf, multiplyDims, symbolsOf } from "../dims.ts";
import type { Dim } from "../dims.ts";
import * as g from "../operations.ts";
import type { OpAttributes } from "../op-attributes.ts";
import { broadcastIndex, sumToShape } from "./elementwise.ts";
import { arity1, dimAt, shapeError } from "./record.ts";
import type { OpRecord } from "./record.ts";

/** Whether two shapes hold equally many elements, as products of symbols. */
function sameCount(a: readonly Dim[], b: readonly Dim[]): boolean {
  const [x, y] = [multiplyDims(...a), multiplyDims(...b)];
  return factorOf(x) === factorOf(y) && symbolsOf(x).join("*") === symbolsOf(y).join("*");
}

export const Reshape: OpRecord<OpAttributes["Reshape"]> = {
  precision: "moves",
  infer: (inputs, { shape }) => {
    const x = arity1("Reshape", inputs);
    if (!sameCount(x.shape, shape)) throw shapeError("Reshape", `as many elements as ${formatShape(shape)}`, inputs);
    return [{ dtype: x.dtype, shape }];
  },
  gradient: ({ inputs: [x], gradients: [dy] }) => (x === undefined || dy === undefined ? [] : [g.reshape(dy, x.shape)]),
  reference: ([x]) => [must(x, "input of Reshape").data],
  view: true,
  lower: (e, { inputs: [x = ""], outputs: [y = ""], inputTypes: [from], attributes: { shape } }) => void e.reshape(x, from?.shape ?? [], shape, y),
};

export const Transpose: OpRecord<OpAttributes["Transpose"]> = {
  precision: "moves",
  infer: (inputs, { permutation }) => {
    const x = arity1("Transpose", inputs);
    if ([...permutation].sort((a, b) => a - b).some((p, i) => p !== i) || permutation.length !== x.shape.length) throw shapeError("Transpose", `a permutation of the axes, not ${permutation.join(",")}`, inputs);
    return [{ dtype: x.dtype, shape: permutation.map((p) => dimAt(x.shape, p)) }];
  },
  gradient: ({ gradients: [dy], attributes: { permutation } }) => (dy === undefined ? [] : [g.transpose(dy, permutation.map((_, i) => permutation.indexOf(i)))]),
  reference: ([x], { permutation }, [out = []]) => {
    const { shape, data } = must(x, "input of Transpose");
    const strides = permutation.map((p) => shape.slice(p + 1).reduce((n, d) => n * d, 1));
    return [Float64Array.from({ length: data.length }, (_, flat) => {
      let [rest, index] = [flat, 0];
      for (let i = out.length - 1; i >= 0; i--) {
        index += (rest % (out[i] ?? 1)) * (strides[i] ?? 0);
        rest = Math.floor(rest / (out[i] ?? 1));
      }
      return data[index] ?? 0;
    })];
  },
  lower: (e, { inputs, outputs, attributes: { permutation } }) => void e.node("Transpose", inputs, outputs, { attributes: { perm: permutation.map(BigInt) } }),
};

export const Expand: OpRecord<OpAttributes["Expand"]> = {
  precision: "moves",
  infer: (inputs, { shape }) => {
    const x = arity1("Expand", inputs);
    if (x.shape.length !== shape.length || x.shape.some((d, i) => d !== 1 && d !== shape[i])) throw shapeError("Expand", `a shape that broadcasts to ${formatShape(shape)}`, inputs);
    return [{ dtype: x.dtype, shape }];
  },
  gradient: ({ inputs: [x], gradients: [dy] }) => (x === undefined || dy === undefined ? [] : [sumToShape(dy, x.shape)]),
  reference: ([x], _a, [out = []]) => {
    const { shape, data } = must(x, "input of Expand");
    const index = broadcastIndex(shape, out);
    return [Float64Array.from({ length: out.reduce((n, d) => n * d, 1) }, (_, i) => data[index(i)] ?? 0)];
  },
  lower: (e, { inputs: [x = ""], outputs, attributes: { shape } }) => void e.node("Expand", [x, e.shape(shape)], outputs),
};

/** Copies pieces along an axis between one joined array and its parts. */
function copyPieces(joined: Float64Array, parts: readonly Float64Array[], inner: readonly number[], toParts: boolean): void {
  const row = inner.reduce((a, b) => a + b, 0);
  const outer = row === 0 ? 0 : joined.length / row;
  for (let o = 0; o < outer; o++) {
    let at = o * row;
    parts.forEach((part, p) => {
      const n = inner[p] ?? 0;
      if (toParts) part.set(joined.subarray(at, at + n), o * n);
      else joined.set(part.subarray(o * n, o * n + n), at);
      at += n;
    });
  }
}

const innerSize = (shape: readonly number[], axis: number): number => shape.slice(axis).reduce((n, d) => n * d, 1);

export const Split: OpRecord<OpAttributes["Split"]> = {
  precision: "moves",
  rowwise: ({ axis }) => (axis === 2 ? "all" : undefined),
  infer: (inputs, { axis, sizes }) => {
    const x = arity1("Split", inputs);
    const known = sizes.every((size) => typeof size === "number") && typeof x.shape[axis] === "number";
    if (known && x.shape[axis] !== sizes.reduce<number>((sum, size) => sum + Number(size), 0)) throw shapeError("Split", `axis ${axis} of length ${sizes.join(" + ")}`, inputs);
    return sizes.map((size) => ({ dtype: x.dtype, shape: x.shape.with(axis, size) }));
  },
  gradient: ({ inputs: [x], outputs, gradients, attributes: { axis } }) => {
    const whole = x?.shape[axis];
    const pieces = outputs.map((y, i) => gradients[i] ?? g.expand(g.reshape(g.scalar(y, 0), y.shape.map(() => 1)), y.shape));
    return [g.concat([must(pieces[0], "piece"), ...pieces.slice(1)], axis, typeof whole === "string" ? whole : undefined)];
  },
  reference: ([x], { axis }, outs) => {
    const parts = outs.map((shape) => new Float64Array(shape.reduce((n, d) => n * d, 1)));
    copyPieces(must(x, "input of Split").data, parts, outs.map((shape) => innerSize(shape, axis)), true);
    return parts;
  },
  lower: (e, { inputs: [x = ""], outputs, attributes: { axis, sizes }, used }) => {
    const known = sizes.filter((size) => typeof size === "number");
    if (e.device !== "webgpu" || known.length < sizes.length) return void e.node("Split", [x, e.shape(sizes)], outputs, { attributes: { axis: BigInt(axis) } });
    // A shader of WebGPU writes to few buffers at once: each piece is cut out by itself.
    let at = 0;
    known.forEach((size, i) => {
      if (used[i]) e.node("Slice", [x, e.integers([at]), e.integers([at + size]), e.integers([axis])], [outputs[i] ?? ""]);
      at += size;
    });
  },
};

export const Concat: OpRecord<OpAttributes["Concat"]> = {
  precision: "moves",
  infer: (inputs, { axis, size }) => {
    const first = must(inputs[0], "first input of Concat");
    const lengths = inputs.map((t) => dimAt(t.shape, axis));
    const total = lengths.every((d) => typeof d === "number") ? lengths.reduce<number>((a, b) => a + Number(b), 0) : size;
    if (total === undefined || inputs.some((t) => t.dtype !== first.dtype || t.shape.length !== first.shape.length || t.shape.some((d, i) => i !== axis && d !== first.shape[i]))) {
      throw shapeError("Concat", `shapes equal but for axis ${axis} (and a name for a symbolic total)`, inputs);
    }
    return [{ dtype: first.dtype, shape: first.shape.with(axis, total) }];
  },
  gradient: ({ inputs, gradients: [dy], attributes: { axis } }) => {
    if (dy === undefined) return [];
    return g.split(dy, axis, inputs.map((x) => dimAt(x.shape, axis)));
  },
  reference: (inputs, { axis }, [out = []]) => {
    const joined = new Float64Array(out.reduce((n, d) => n * d, 1));
    copyPieces(joined, inputs.map((t) => t.data), inputs.map((t) => innerSize(t.shape, axis)), false);
    return [joined];
  },
  lower: (e, { inputs, outputs, attributes: { axis } }) => void e.node("Concat", inputs, outputs, { attributes: { axis: BigInt(axis) } }),
};

