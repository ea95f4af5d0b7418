/** What drawn numbers cannot show of the loss: targets whose probability rounds to 0, what the graph keeps of them, and many small probabilities beside a large one. */
import { expect, test } from "vitest";
import { relativeError } from "../../../../test/support/numbers.ts";
import { must } from "../../../core/base/errors.ts";
import { tensor } from "../../../core/base/tensor.ts";
import { gradient } from "../../passes/gradient.ts";
import { openSession } from "../../runtime/onnx-session.ts";
import { evaluateReference, toReference } from "../../runtime/reference.ts";
import { GraphBuilder } from "../builder.ts";
import { vocabularyBlocks } from "../byte-weights.ts";
import * as g from "../operations.ts";
import type { Value } from "../value.ts";

/** Rows of five logits that spread over ±200; the first target is far below float32's range of probabilities, the second at the top. */
const ROWS = [[200, -200, 0, 3, -150], [-200, 200, 195, -7, 50], [-199, -200, -198, -197.5, -200]];
const TARGETS = [1, 1, 4];

async function lossOf(softCap: number, learns: "hidden" | "logits" | "nothing"): Promise<{ readonly nll: number; readonly dx: number }> {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", [1, 3, 5]);
  const targets = builder.input("targets", "int32", [1, 3]);
  const unit = builder.constant(tensor("float32", [5, 5], Float32Array.from({ length: 25 }, (_, i) => Number(i % 6 === 0))));
  const nll: Value = learns === "logits" ? g.crossEntropy(x, targets) : g.linearCrossEntropy(x, unit, targets, { chunks: 2, minimumRows: 2, softCap });
  builder.output("nll", nll);
  const seed = builder.constant(tensor("float32", [1, 3], Float32Array.of(0.7, -1.3, 2)));
  if (learns !== "nothing") builder.output("dx", must(gradient(builder, { value: nll, seed }, [x])[0], "dx"));
  const graph = builder.finish();
  const feeds = { x: tensor("float32", [1, 3, 5], Float32Array.from(ROWS.flat())), targets: tensor("int32", [1, 3], Int32Array.from(TARGETS)) };
  using session = await openSession(graph, { threads: 1 });
  const actual = await session.run(feeds);
  const expected = evaluateReference(graph, new Map(Object.entries(feeds).map(([name, t]) => [name, toReference(t)])));
  const error = (name: string): number => (expected.has(name) ? relativeError(must(actual[name], name).data, must(expected.get(name), name).data) : 0);
  if (softCap === 0) expect([...must(expected.get("nll"), "nll").data].map((y) => Math.round(y))).toEqual([400, 0, 3]);
  return { nll: error("nll"), dx: error("dx") };
}

test.each(["hidden", "logits", "nothing"] as const)("the loss of a target whose probability is 0 in float32 is exact where %s learns", async (learns) => {
  const errors = await lossOf(0, learns);
  expect(errors.nll).toBeLessThan(1e-6);
  expect(errors.dx).toBeLessThan(1e-6);
});

test("so it is under a soft cap that nearly all logits reach", async () => {
  const errors = await lossOf(110, "hidden");
  expect(errors.nll).toBeLessThan(1e-6);
  expect(errors.dx).toBeLessThan(1e-5);
});

/** Token 0 and 3,000 others, each a thousandth as likely: the mass of these pulls along one element of the hidden state. Its share, and that of the slope. */
async function shareOfOthers(blocks: number): Promise<{ readonly exact: number; readonly slope: number }> {
  const [v, d] = [3001, 4];
  const bytes = Int8Array.from({ length: d * v }, (_, i) => (i === 0 ? 64 : 0)); // Logits 7 for token 0, 0 for the others.
  const embedding = Int8Array.from({ length: v * d }, (_, i) => (i >= d && i % d === 3 ? 1 : 0));
  const builder = new GraphBuilder();
  const hidden = builder.input("hidden", "float32", [1, 1, d]);
  const constant = (data: Int8Array | Float32Array, ...shape: number[]): Value => builder.constant(data instanceof Int8Array ? tensor("int8", shape, data) : tensor("float32", shape, data));
  const head = {
    weight: constant(bytes, d, v), scales: constant(new Float32Array(v).fill(1 / 64), v), embedding: constant(Float32Array.from(embedding), v, d),
    back: blocks === 0 ? undefined : { weight: constant(embedding, blocks, v / blocks, d), scales: constant(new Float32Array(d).fill(1), d) },
  };
  const nll = g.roundedLinearCrossEntropy(hidden, head, builder.constant(tensor("int32", [1, 1], Int32Array.of(0))), { chunks: 1, minimumRows: 1, softCap: 0 });
  const seed = builder.constant(tensor("float32", [1, 1], Float32Array.of(1)));
  builder.output("slope", must(gradient(builder, { value: nll, seed }, [hidden])[0], "slope"));
  using session = await openSession(builder.finish(), { threads: 1 });
  const { slope } = await session.run({ hidden: tensor("float32", [1, 1, d], Float32Array.of(7, 0, 0, 0)) });
  return { exact: 3000 / (3000 + Math.exp(7)), slope: Number(must(slope, "slope").data[3]) };
}

test("in 8 bits the slope has the share of the tokens that are each a thousandth as likely as the first", async () => {
  const { exact, slope } = await shareOfOthers(0);
  expect(exact).toBeGreaterThan(0.7);
  expect(slope).toBeCloseTo(exact, 2);
});

test("with the way back in 8 bits it lacks only those of the first one's block", async () => {
  const { exact, slope } = await shareOfOthers(3001);
  expect(slope).toBeCloseTo(exact, 2);
  // All of them in one block: the smallest step of 8 bits is more than any of them has.
  expect((await shareOfOthers(1)).slope).toBe(0);
});

test("a vocabulary is cut into equal blocks, large enough for fast products and small enough to lose little; where it cannot be, the last is filled up", () => {
  const sizes = (v: number) => Object.values(vocabularyBlocks(v));
  expect([49_152, 6400, 128_256, 512, 7].map(sizes)).toEqual([[64, 768], [10, 640], [167, 768], [1, 512], [1, 7]]);
  expect([50_257, 151_936].map(sizes)).toEqual([[66, 768], [198, 768]]);
});
