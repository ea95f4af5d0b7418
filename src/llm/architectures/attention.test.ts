import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { peakAlive } from "../../../test/support/profile.ts";
import { drawTensor } from "../../../test/support/tensors.ts";
import { must } from "../../core/base/errors.ts";
import { normals, randomKey } from "../../core/base/random.ts";
import { elementCount, tensor } from "../../core/base/tensor.ts";
import { multiplyDims } from "../../engine/graph/dims.ts";
import { GraphBuilder } from "../../engine/graph/builder.ts";
import type { ReferenceTensor } from "../../engine/graph/ops/record.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import { gradient } from "../../engine/passes/gradient.ts";
import { recompute } from "../../engine/passes/recompute.ts";
import { evaluateReference } from "../../engine/runtime/reference.ts";
import { attend, attendInBlocks, packSight, positionSight, prefixSight, splitHeads, type AttentionShape, type Sight } from "./attention.ts";

const [X, H, K, T, S, E] = [2, 6, 3, 4, 5, 2];
const drawn = (name: string, shape: readonly number[]): ReferenceTensor => ({ dtype: "float32", shape, data: normals(randomKey(4, name), [], elementCount(shape)) });

/** Softmax over scores that are scaled, then capped, then masked: one query after another (Vaswani et al. 2017, eq. 1; Gemma Team 2024b, section 2). */
function plainAttention(q: ReferenceTensor, k: ReferenceTensor, v: ReferenceTensor, { scale = 1 / Math.sqrt(E), softCap = 0 }: Partial<AttentionShape>): number[] {
  const at = (t: ReferenceTensor, [x, h, p]: readonly [number, number, number], e: number): number => t.data[((x * (t.shape[1] ?? 0) + h) * (t.shape[2] ?? 0) + p) * E + e] ?? Number.NaN;
  const out: number[] = [];
  for (let x = 0; x < X; x++) for (let t = 0; t < T; t++) for (let h = 0; h < H; h++) {
    const shared = Math.floor(h / (H / K));
    const scores = Array.from({ length: S }, (_, s) => {
      const score = scale * (at(q, [x, h, t], 0) * at(k, [x, shared, s], 0) + at(q, [x, h, t], 1) * at(k, [x, shared, s], 1));
      return s > t + 1 ? -Infinity : softCap === 0 ? score : softCap * Math.tanh(score / softCap);
    });
    const total = scores.reduce((sum, score) => sum + Math.exp(score), 0);
    for (let e = 0; e < E; e++) out.push(scores.reduce((sum, score, s) => sum + (Math.exp(score) / total) * at(v, [x, shared, s], e), 0));
  }
  return out;
}

describe("attention in float64 is the plain formula", () => {
  test.each<[string, Partial<AttentionShape>]>([
    ["scaled by the root of the width", {}],
    ["with a scale of its own", { scale: 0.3 }],
    ["with a soft cap", { softCap: 0.75 }],
    ["with both", { scale: 1.9, softCap: 1.25 }],
  ])("%s", (_, shape) => {
    const [q, k, v] = [drawn("q", [X, H, T, E]), drawn("k", [X, K, S, E]), drawn("v", [X, K, S, E])];
    const mask: ReferenceTensor = { dtype: "float32", shape: [1, 1, 1, T, S], data: Float64Array.from({ length: T * S }, (_unused, i) => (i % S > Math.floor(i / S) + 1 ? -1e30 : 0)) };
    const builder = new GraphBuilder();
    const input = (name: string, t: ReferenceTensor) => builder.input(name, "float32", t.shape);
    builder.output("out", attend(input("q", q), { key: input("k", k), value: input("v", v) }, input("mask", mask), { heads: H, keyValueHeads: K, headWidth: E, ...shape }));
    const out = must(evaluateReference(builder.finish(), new Map([["q", q], ["k", k], ["v", v], ["mask", mask]])).get("out"), "out");
    expect(out.shape).toEqual([X, T, H * E]);
    expect(relativeError(out.data, plainAttention(q, k, v, shape))).toBeLessThan(1e-12);
  });
});

/** Rows of a mask as text: x where a query sees a key. */
function seen(sight: (constant: (rows: readonly (readonly number[])[]) => ReturnType<GraphBuilder["constant"]>) => Sight, window?: number): readonly string[] {
  const builder = new GraphBuilder();
  const constant = (rows: readonly (readonly number[])[]) => builder.constant(tensor("int32", [rows.length, rows[0]?.length ?? 0], Int32Array.from(rows.flat())));
  builder.output("mask", sight(constant).mask(window));
  const { shape, data } = must(evaluateReference(builder.finish(), new Map()).get("mask"), "mask");
  const [x = 0, , , t = 0, s = 0] = shape;
  return Array.from({ length: x * t }, (_, row) => [...data.subarray(row * s, (row + 1) * s)].map((m) => (m === 0 ? "x" : ".")).join(""));
}

describe("a token sees", () => {
  const segments = [[1, 1, 1, 2, 2, 2]];
  const positions = [[0, 1, 2, 0, 1, 2]];

  test("its own example up to itself, and no further back than its window", () => {
    expect(seen((c) => packSight(c(segments), c(positions)))).toEqual(["x.....", "xx....", "xxx...", "...x..", "...xx.", "...xxx"]);
    expect(seen((c) => packSight(c(segments), c(positions)), 2)).toEqual(["x.....", "xx....", ".xx...", "...x..", "...xx.", "....xx"]);
    expect(seen((c) => packSight(c(segments), c(positions)), 1)).toEqual(["x.....", ".x....", "..x...", "...x..", "....x.", ".....x"]);
  });

  test("keys of a cache that stand before it, within its window by their positions, and none that is hidden", () => {
    const keys = [[0, 1, 1 << 30, 2, 3], [0, 1, 2, 3, 4]];
    expect(seen((c) => positionSight(c([[3], [4]]), c(keys)))).toEqual(["xx.xx", "xxxxx"]);
    expect(seen((c) => positionSight(c([[3], [4]]), c(keys)), 3)).toEqual([".x.xx", "..xxx"]);
  });

  test("the adapter's prefix before every example of a pack, as far as its window reaches", () => {
    const shifted = positions.map((row) => row.map((p) => p + 2));
    const own = (c: Parameters<Parameters<typeof seen>[0]>[0]): Sight => prefixSight(packSight(c(segments), c(shifted)), 2, "S");
    expect(seen(own)).toEqual(["xxx.....", "xxxx....", "xxxxx...", "xx...x..", "xx...xx.", "xx...xxx"]);
    expect(seen(own, 3)).toEqual(["xxx.....", ".xxx....", "..xxx...", "xx...x..", ".x...xx.", ".....xxx"]);
  });
});

test("blocks whose scores are made again hold those of one block at a time", async () => {
  const [heads, width, u, n] = [4, 8, 128, 4];
  const builder = new GraphBuilder();
  const t = multiplyDims(n, "U");
  const x = builder.input("x", "float32", [1, t, heads * width]);
  const weight = (name: string, keyValueHeads: number): Value => builder.input(name, "float32", [heads * width, keyValueHeads * width]);
  const [wq, wk, wv] = [weight("wq", heads), weight("wk", 2), weight("wv", 2)];
  const masks = must(packSight(builder.input("segments", "int32", [1, t]), builder.input("positions", "int32", [1, t]), n).blocks, "blocks").map((block) => block.mask());
  const mixed = attendInBlocks(g.matMul(x, wq), { key: splitHeads(g.matMul(x, wk), 2, width), value: splitHeads(g.matMul(x, wv), 2, width) }, masks, { heads, keyValueHeads: 2, headWidth: width });
  const seed = builder.input("seed", "float32", mixed.shape);
  gradient(builder, { value: mixed, seed }, [wq, wk, wv]).forEach((slope, i) => builder.output(`d${i}`, must(slope, "slope")));
  const { graph } = recompute(builder.finish(), { boundary: seed.id, bytes: 0, sizes: new Map([["U", u]]) });
  const feeds = {
    ...Object.fromEntries(["x", "seed"].map((name) => [name, drawTensor(name, [1, n * u, heads * width])])), wq: drawTensor("wq", [heads * width, heads * width]),
    ...Object.fromEntries(["wk", "wv"].map((name) => [name, drawTensor(name, [heads * width, 2 * width])])),
    segments: tensor("int32", [1, n * u], new Int32Array(n * u)), positions: tensor("int32", [1, n * u], Int32Array.from({ length: n * u }, (_, i) => i)),
  };
  // Probabilities, their slopes and those of the scores, of the last block; what else there is takes less than one of them.
  expect(await peakAlive(graph, feeds)).toBeLessThan(4 * (4 * heads * u * n * u));
});
