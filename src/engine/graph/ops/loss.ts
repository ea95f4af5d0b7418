/** Cross entropy over the vocabulary, from logits or straight from the last hidden state in pieces of rows. */
import { must } from "../../../core/base/errors.ts";
import { isHalf, tensor } from "../../../core/base/tensor.ts";
import { byteZero, isByte } from "../byte-weights.ts";
import { multiplyDims } from "../dims.ts";
import { emitProduct } from "../onnx/product.ts";
import type { OnnxEmitter } from "../onnx/emitter.ts";
import type { OpAttributes } from "../op-attributes.ts";
import * as g from "../operations.ts";
import type { Value } from "../value.ts";
import { arity2, arity3, dimAt, shapeError } from "./record.ts";
import { blockProduct, roundedRowsProduct } from "./quantized.ts";
import type { LoweredNode, OpRecord } from "./record.ts";

/** −log softmax(row)[target] and, in place of the row, softmax(row) − onehot(target). */
function crossEntropyRow(row: Float64Array, target: number): number {
  const max = row.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = row.reduce((a, b) => a + Math.exp(b - max), 0);
  const nll = Math.log(sum) + max - (row[target] ?? 0);
  row.forEach((value, i) => (row[i] = Math.exp(value - max) / sum - Number(i === target)));
  return nll;
}

interface LoweredRows {
  /** The losses `[n, 1]`. */
  readonly nll: string;
  /** Logits of the targets `[n, 1]`. */
  readonly picked: string;
  /** softmax `[n, V]`; "" where no gradient is wanted. */
  readonly probabilities: string;
}

/** ONNX nodes for rows `[n, V]` and their targets as a column `[n, 1]`. */
function lowerRows(e: OnnxEmitter, logits: string, column: string, wantGradient: boolean): LoweredRows {
  const pick = (x: string): string => e.fresh("GatherElements", [x, column], { attributes: { axis: 1n } });
  if (!wantGradient) {
    return { nll: e.fresh("Neg", [pick(e.fresh("LogSoftmax", [logits], { attributes: { axis: -1n } }))]), picked: "", probabilities: "" };
  }
  const picked = pick(logits);
  const probabilities = e.fresh("Softmax", [logits], { attributes: { axis: -1n } });
  const largest = (x: string): string => e.fresh("ReduceMax", [x, e.integers([1])], { attributes: { keepdims: 1n } });
  // log Σ exp = max − log of the largest probability, which is at least 1 / V: a target's own may have rounded to 0.
  const logSum = e.fresh("Sub", [largest(logits), e.fresh("Log", [largest(probabilities)])]);
  return { nll: e.fresh("Sub", [logSum, picked]), picked, probabilities };
}

/** Its second output is softmax − onehot `[C, L, V]`, kept for the gradient. */
export const CrossEntropy: OpRecord<OpAttributes["CrossEntropy"]> = {
  precision: "float32",
  infer: (inputs) => {
    const [logits, targets] = arity2("CrossEntropy", inputs);
    if (logits.shape.length !== 3 || targets.shape.length !== 2 || targets.dtype !== "int32") throw shapeError("CrossEntropy", "[C, L, V] and int32 [C, L]", inputs);
    return [{ dtype: logits.dtype, shape: targets.shape }, logits];
  },
  gradient: ({ inputs: [logits], outputs: [, residual], gradients: [dy, dResidual] }) => {
    if (dResidual !== undefined) throw new Error("CrossEntropy: its second output is for its own gradient only");
    if (logits === undefined || residual === undefined || dy === undefined) return [];
    return [g.mul(residual, g.reshape(dy, [...dy.shape, 1])), undefined];
  },
  reference: ([logits, targets]) => {
    const { shape, data } = must(logits, "logits");
    const v = shape[2] ?? 1;
    const residual = data.slice();
    return [Float64Array.from(targets?.data ?? [], (target, i) => crossEntropyRow(residual.subarray(i * v, i * v + v), target)), residual];
  },
  lower: (e, { inputs: [logits = "", targets = ""], outputs: [nll = "", residual = ""], inputTypes: [type], used }) => {
    const [c = 1, l = 1, v = 1] = type?.shape ?? [];
    const rows = multiplyDims(c, l);
    const column = e.reshape(targets, [c, l], [rows, 1]);
    const result = lowerRows(e, e.reshape(logits, [c, l, v], [rows, v]), column, used[1] ?? false);
    e.reshape(result.nll, [rows, 1], [c, l], nll);
    if (!used[1]) return;
    const minusOne = e.fresh("Expand", [e.constant(tensor("float32", [1, 1], Float32Array.of(-1))), e.shape([rows, 1])]);
    e.reshape(e.fresh("ScatterElements", [result.probabilities, column, minusOne], { attributes: { axis: 1n, reduction: "add" } }), [rows, v], [c, l, v], residual);
  },
};

/** Logits from products already divided by the cap (0: as they are), and what takes a gradient of the logits to one of the products before the division. */
function capped(product: Value, softCap: number): { readonly logits: Value; readonly passes: (dLogits: Value) => Value } {
  if (softCap === 0) return { logits: product, passes: (d) => d };
  const t = g.tanh(product);
  return { logits: g.mul(t, softCap), passes: (d) => g.mul(d, g.sub(g.scalar(t, 1), g.mul(t, t))) };
}

/**
 * Its second output is the gradient of each loss with respect to its hidden row, `[C, L, D]`, made in the same pass as
 * the loss so that no logits are kept (as in Hsu et al. 2024, "Liger Kernel").
 */
export const LinearCrossEntropy: OpRecord<OpAttributes["LinearCrossEntropy"]> = {
  precision: "stored",
  infer: (inputs) => {
    const [hidden, weight, targets] = arity3("LinearCrossEntropy", inputs);
    if (hidden.shape.length !== 3 || weight.shape.length !== 2 || weight.shape[1] !== hidden.shape[2] || targets.shape.length !== 2 || targets.dtype !== "int32") {
      throw shapeError("LinearCrossEntropy", "[C, L, D], [V, D] and int32 [C, L]", inputs);
    }
    return [{ dtype: "float32", shape: targets.shape }, { dtype: "float32", shape: hidden.shape }];
  },
  gradient: ({ inputs: [hidden, weight, targets], outputs: [, slope], gradients: [dy, dSlope], attributes: { softCap }, needs }) => {
    if (dSlope !== undefined) throw new Error("LinearCrossEntropy: its second output is for its own gradient only");
    if (hidden === undefined || weight === undefined || targets === undefined || slope === undefined || dy === undefined) return [];
    const column = g.reshape(dy, [...dy.shape, 1]);
    const forHidden = (): Value => g.cast(g.mul(slope, column), hidden.dtype);
    if (!needs[1]) return [forHidden(), undefined, undefined];
    // A head that trains takes the plain way: its gradient needs every row's residual against every hidden row.
    const rows = g.cast(hidden, weight.dtype);
    const { logits, passes } = capped(g.cast(g.matMul(rows, weight, { transB: true, alpha: softCap === 0 ? 1 : 1 / softCap }), "float32"), softCap);
    const flat = (x: Value): Value => g.reshape(x, [multiplyDims(dimAt(x.shape, 0), dimAt(x.shape, 1)), dimAt(x.shape, 2)]);
    const [, residual = hidden] = hidden.builder.emit("CrossEntropy", [logits, targets], {});
    const scaled = g.cast(flat(passes(g.mul(residual, column))), weight.dtype);
    return [needs[0] ? forHidden() : undefined, g.matMul(scaled, flat(rows), { transA: true }), undefined];
  },
  reference: ([hidden, weight, targets], { softCap }) => {
    const w = must(weight, "weight");
    const [v = 1, d = 1] = w.shape;
    const at = (k: number, j: number): number => w.data[k * d + j] ?? 0;
    return linearLoss(must(hidden, "hidden").data, targets?.data ?? new Float64Array(), { v, d, softCap, forward: at, back: at });
  },
  // Rows are cut into `chunks` pieces of max(⌈rows / chunks⌉, minimumRows); the last pieces may be empty. The slope is
  // P · W − W[targets], so that nothing is scattered into `[rows, V]`.
  lower: (e, node) => {
    const [, weight = "", targets = ""] = node.inputs;
    const { softCap } = node.attributes;
    const { dtype, shape: [v = 1, d = 1] } = must(node.inputTypes[1], "weight");
    // Rows by a piece: the number of rows does not matter to the product.
    const product = (x: string): string => emitProduct(e, { a: x, aShape: ["rows", d], b: weight, bShape: [v, d], transA: false, transB: true, alpha: softCap === 0 ? 1 : 1 / softCap, dtype });
    if (!isHalf(dtype)) {
      const inFloat = (x: string): string => (isHalf(node.inputTypes[0]?.dtype ?? dtype) ? e.cast(x, dtype) : x);
      return lowerInPieces(e, node, { targets, product: (x) => product(inFloat(x)), back: (p) => e.fresh("MatMul", [p, weight]), rowsOf: (t) => e.fresh("Gather", [weight, t], { attributes: { axis: 0n } }) });
    }
    // What the product rounds must not be a difference of large numbers: the target is taken off the probabilities, not off their product.
    const inHalf = (x: string): string => (node.inputTypes[0]?.dtype === dtype ? x : e.cast(x, dtype));
    const factor = dtype === "float16" ? PROBABILITY_SCALE : 1;
    const scaled = (x: string, by: number): string => (by === 1 ? x : e.fresh("Mul", [x, e.float(by)]));
    lowerInPieces(e, node, {
      targets,
      product: (x) => e.cast(product(inHalf(x)), "float32"),
      back: (p) => scaled(e.cast(emitProduct(e, { a: e.cast(scaled(p, factor), dtype), aShape: ["rows", v], b: weight, bShape: [v, d], transA: false, transB: false, alpha: 1, dtype }), "float32"), 1 / factor),
      vocabSize: Number(v),
    });
  },
};

/** float16 begins to lose digits below 6e-5, where most probabilities of a large vocabulary lie. */
const PROBABILITY_SCALE = 1024;

type ElementOf = (k: number, j: number) => number;

/** Losses and slopes of hidden rows in float64, for an output embedding whose elements may differ between the two directions, and for the target's own row. */
function linearLoss(hidden: Float64Array, targets: Float64Array, { v, d, softCap, forward, back, ofTarget = back }: { readonly v: number; readonly d: number; readonly softCap: number; readonly forward: ElementOf; readonly back: ElementOf; readonly ofTarget?: ElementOf }): Float64Array[] {
  const slope = new Float64Array(hidden.length);
  const nll = Float64Array.from(targets, (target, i) => {
    const row = Float64Array.from({ length: v }, (_, k) => {
      let sum = 0;
      for (let j = 0; j < d; j++) sum += (hidden[i * d + j] ?? 0) * forward(k, j);
      return softCap === 0 ? sum : softCap * Math.tanh(sum / softCap);
    });
    const slopes = row.map((logit) => (softCap === 0 ? 1 : 1 - (logit / softCap) ** 2));
    const loss = crossEntropyRow(row, target);
    row.forEach((p, k) => (row[k] = p * (slopes[k] ?? 0)));
    const ofOwn = slopes[target] ?? 0;
    row[target] = (row[target] ?? 0) + ofOwn;
    for (let j = 0; j < d; j++) slope[i * d + j] = row.reduce((sum, p, k) => sum + p * back(k, j), -ofOwn * ofTarget(target, j));
    return loss;
  });
  return [nll, slope];
}

/**
 * LinearCrossEntropy whose logits are products with an output embedding in 8 bits. Inputs: hidden `[C, L, D]`, int8 or uint8 `[D, V]`
 * with scales `[V]`, the embedding itself `[V, D]`, targets and, where the way back is in 8 bits as well, blocks of the embedding's rows
 * `[blocks, tokens, D]` with scales `[D]`, the last filled up with zeros: probabilities are then rounded by row and block. The targets' rows are taken off in float32 either way.
 */
export const RoundedLinearCrossEntropy: OpRecord<OpAttributes["RoundedLinearCrossEntropy"]> = {
  precision: "float32",
  infer: (inputs) => {
    const [hidden, w, scales, embedding, targets, back, backScales] = inputs;
    const [blocks, tokens] = [Number(back?.shape[0]), Number(back?.shape[1])];
    const fitsBack = back === undefined || (back.dtype === w?.dtype && blocks * tokens >= Number(embedding?.shape[0]) && back.shape[2] === embedding?.shape[1] && backScales?.dtype === "float32" && backScales.shape[0] === embedding?.shape[1]);
    if (hidden === undefined || w === undefined || scales === undefined || embedding?.dtype !== "float32" || targets === undefined || !isByte(w.dtype) || w.shape[0] !== hidden.shape[2] || embedding.shape[1] !== w.shape[0] || embedding.shape[0] !== w.shape[1] || !fitsBack) {
      throw shapeError("RoundedLinearCrossEntropy", "[C, L, D], int8 or uint8 [D, V], [V], float32 [V, D], int32 [C, L] and perhaps [blocks, tokens, D] and [D]", inputs);
    }
    return [{ dtype: "float32", shape: targets.shape }, hidden];
  },
  gradient: ({ inputs, outputs: [, slope], gradients: [dy, dSlope], needs }) => {
    if (dSlope !== undefined) throw new Error("RoundedLinearCrossEntropy: its second output is for its own gradient only");
    if (needs.slice(1).some(Boolean)) throw new Error("RoundedLinearCrossEntropy: an 8-bit output embedding does not train");
    return slope === undefined || dy === undefined ? [] : [g.mul(slope, g.reshape(dy, [...dy.shape, 1])), ...inputs.slice(1).map(() => undefined)];
  },
  reference: ([hidden, w, scales, embedding, targets, back, backScales], { softCap }) => {
    const { dtype, shape: [d = 1, v = 1] } = must(w, "weight");
    const zero = byteZero(dtype);
    return linearLoss(must(hidden, "hidden").data, targets?.data ?? new Float64Array(), {
      v, d, softCap,
      forward: (k, j) => ((w?.data[j * v + k] ?? 0) - zero) * (scales?.data[k] ?? 0),
      back: (k, j) => (back === undefined ? (embedding?.data[k * d + j] ?? 0) : ((back.data[k * d + j] ?? 0) - zero) * (backScales?.data[j] ?? 0)),
      ofTarget: (k, j) => embedding?.data[k * d + j] ?? 0,
    });
  },
  lower: (e, node) => {
    const [, w = "", scales = "", embedding = "", targets = "", back, backScales] = node.inputs;
    const { softCap } = node.attributes;
    const { dtype, shape: [, v = 1] } = must(node.inputTypes[1], "weight");
    const divided = softCap === 0 ? scales : e.fresh("Mul", [scales, e.float(1 / softCap)]);
    lowerInPieces(e, node, {
      targets,
      product: (x) => roundedRowsProduct(e, x, { weight: w, dtype, scales: divided }),
      back: (p) => (back === undefined ? e.fresh("MatMul", [p, embedding]) : blockProduct(e, p, { weight: back, dtype, scales: backScales, shape: (node.inputTypes[5]?.shape ?? []).map(Number), vocabSize: Number(v) })),
      rowsOf: (t) => e.fresh("Gather", [embedding, t], { attributes: { axis: 0n } }),
    });
  },
};

/** The products of an output embedding, as ONNX nodes. */
interface LoweredHead {
  readonly targets: string;
  /** Logits of rows `[n, D]`, divided by the soft cap where there is one: `[n, V]`. */
  product(x: string): string;
  /** `[n, V]` times the embedding: `[n, D]`. */
  back(p: string): string;
  /** Rows of the embedding by token `[n]`: `[n, D]`. Absent: the target is taken off the probabilities of `vocabSize` tokens before `back`. */
  rowsOf?(t: string): string;
  readonly vocabSize?: number;
}

/** Losses and slopes of hidden rows, in `chunks` pieces of rows so that logits never exist whole. */
function lowerInPieces(e: OnnxEmitter, { inputs: [hidden = ""], outputs: [nll = "", slope = ""], inputTypes: [type], attributes: { chunks, minimumRows, softCap }, used }: LoweredNode<OpAttributes["LinearCrossEntropy"]>, head: LoweredHead): void {
  const [c = 1, l = 1, d = 1] = type?.shape ?? [];
  const rows = multiplyDims(c, l);
  const given = [e.reshape(hidden, [c, l, d], [rows, d]), e.reshape(head.targets, [c, l], [rows])] as const;
  const count = e.shape([rows]);
  const share = e.fresh("Div", [e.fresh("Add", [count, e.integers([chunks - 1])]), e.integers([chunks])]);
  // WebGPU refuses empty pieces: there the last row is repeated until every piece is full.
  const filled = chunks > 1 && e.device === "webgpu";
  const piece = filled ? share : e.fresh("Max", [share, e.integers([minimumRows])]);
  const order = filled ? lastRepeated(e, count, e.fresh("Mul", [share, e.integers([chunks])])) : "";
  const [x, t] = filled ? [e.fresh("Gather", [given[0], order]), e.fresh("Gather", [given[1], order])] : given;
  const limited = (end: string): string => (filled ? end : e.fresh("Min", [count, end]));
  const losses: string[] = [];
  const slopes: string[] = [];
  for (let i = 0; i < chunks; i++) {
    const from = limited(e.fresh("Mul", [piece, e.integers([i])]));
    const to = limited(e.fresh("Mul", [piece, e.integers([i + 1])]));
    const cut = (value: string): string => (chunks === 1 ? value : e.fresh("Slice", [value, from, to, e.integers([0])]));
    const product = head.product(cut(x));
    const bounded = softCap === 0 ? "" : e.fresh("Tanh", [product]);
    const column = e.fresh("Unsqueeze", [cut(t), e.integers([1])]);
    const { nll: loss, picked, probabilities } = lowerRows(e, softCap === 0 ? product : e.fresh("Mul", [bounded, e.float(softCap)]), column, used[1] ?? false);
    losses.push(loss);
    if (!used[1]) continue;
    const passes = (x: string): string => e.fresh("Sub", [e.float(1), e.fresh("Mul", [x, x])]);
    const targetRows = head.rowsOf?.(cut(t));
    if (targetRows === undefined) {
      const tokens = e.constant(tensor("int32", [1, head.vocabSize ?? 0], Int32Array.from({ length: head.vocabSize ?? 0 }, (_, k) => k)));
      const residual = e.fresh("Sub", [probabilities, e.cast(e.fresh("Equal", [column, tokens]), "float32")]);
      slopes.push(head.back(softCap === 0 ? residual : e.fresh("Mul", [residual, passes(bounded)])));
      continue;
    }
    if (softCap === 0) {
      slopes.push(e.fresh("Sub", [head.back(probabilities), targetRows]));
      continue;
    }
    const slopeOfTarget = passes(e.fresh("Mul", [picked, e.float(1 / softCap)]));
    slopes.push(e.fresh("Sub", [head.back(e.fresh("Mul", [probabilities, passes(bounded)])), e.fresh("Mul", [targetRows, slopeOfTarget])]));
  }
  const join = (parts: readonly string[]): string => (parts.length === 1 ? (parts[0] ?? "") : e.fresh("Concat", parts, { attributes: { axis: 0n } }));
  const rowsOf = (parts: readonly string[]): string => (filled ? e.fresh("Slice", [join(parts), e.integers([0]), count, e.integers([0])]) : join(parts));
  if (!used[1]) {
    e.reshape(rowsOf(losses), [rows, 1], [c, l], nll);
    return;
  }
  // Loss and slope of a piece are one value, so that nothing of the piece is left when the next begins: onnxruntime would make all losses first.
  const both = rowsOf(losses.map((loss, i) => e.fresh("Concat", [loss, must(slopes[i], "slope")], { attributes: { axis: 1n } })));
  const [lossOf = "", slopeOf = ""] = e.node("Split", [both, e.integers([1, Number(d)])], 2, { attributes: { axis: 1n } });
  e.reshape(lossOf, [rows, 1], [c, l], nll);
  e.reshape(slopeOf, [rows, d], [c, l, d], slope);
}

/** Row numbers 0, 1, … below `count`, then the last one again, `total` in all. */
function lastRepeated(e: OnnxEmitter, count: string, total: string): string {
  const upTo = e.fresh("Range", [e.fresh("Squeeze", [e.integers([0])]), e.fresh("Squeeze", [total]), e.fresh("Squeeze", [e.integers([1])])]);
  return e.cast(e.fresh("Min", [upTo, e.fresh("Sub", [count, e.integers([1])])]), "int32");
}
