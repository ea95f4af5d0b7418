/** Every op that runs in half precision, in it: onnxruntime on the CPU against the float64 reference that rounds each result. */
import { describe, expect, test } from "vitest";
import { OP_CASES, type OpCase } from "../../../../test/support/op-cases.ts";
import { gradientGraph, valueGraph, type Feeds } from "../../../../test/support/op-graph.ts";
import { relativeError } from "../../../../test/support/numbers.ts";
import { must } from "../../../core/base/errors.ts";
import { HALF_DTYPES, tensor, type HalfDType } from "../../../core/base/tensor.ts";
import { gradient } from "../../passes/gradient.ts";
import { openSession } from "../../runtime/onnx-session.ts";
import { evaluateReference, toReference } from "../../runtime/reference.ts";
import { GraphBuilder } from "../builder.ts";
import type { OpName } from "../op-attributes.ts";
import * as g from "../operations.ts";
import type { Graph } from "../types.ts";
import { OPS } from "./all.ts";

// Object.keys forgets the key type; OP_CASES has exactly the ops as keys.
const CASES = (Object.keys(OP_CASES) as OpName[])
  .filter((op) => ["half", "moves", "scores", "stored"].includes(OPS[op].precision))
  .flatMap((op) => OP_CASES[op].map((example: OpCase) => ({ op, example, shows: example.shows })))
  .filter(({ example }) => example.inputs.some(({ dtype }) => dtype === "float32"));
/** A sum of a few rounded products, each off by half a unit. */
const TOLERANCE: Readonly<Record<HalfDType, number>> = { float16: 4 * 2 ** -11, bfloat16: 4 * 2 ** -8 };

async function largestError(graph: Graph, feeds: Feeds): Promise<number> {
  using session = await openSession(graph, { threads: 1 });
  const actual = await session.run(feeds);
  const expected = evaluateReference(graph, new Map(Object.entries(feeds).map(([name, t]) => [name, toReference(t)])));
  return Math.max(...[...expected].map(([name, { data }]) => relativeError(must(actual[name], name).data, data)));
}

describe.each(HALF_DTYPES)("in %s", (dtype) => {
  test.each(CASES)("$op, $shows: its value", async ({ op, example }) => {
    const { graph, feeds } = valueGraph(op, example, { dtype });
    expect(await largestError(graph, feeds)).toBeLessThan(TOLERANCE[dtype]);
  });

  test.each(CASES.filter(({ op, example }) => typeof OPS[op].gradient === "function" && example.inputs.some(({ learns }) => learns)))("$op, $shows: its gradient", async ({ op, example }) => {
    const { graph, feeds } = gradientGraph(op, example, dtype);
    expect(await largestError(graph, feeds)).toBeLessThan(2 * TOLERANCE[dtype]);
  });

  test("a softmax that looks at one row only has next to no gradient, whatever the size of what it looks at", async () => {
    const builder = new GraphBuilder();
    const scores = builder.input("scores", "float32", [1, 4]);
    const y = g.cast(g.softmaxProduct(scores, g.cast(builder.input("values", "float32", [4, 3]), dtype)), "float32");
    const seed = builder.input("seed", "float32", [1, 3]);
    builder.output("dx", must(gradient(builder, { value: y, seed }, [scores])[0], "gradient"));
    const feeds = {
      scores: tensor("float32", [1, 4], Float32Array.of(0, 20, 1, 2)),
      values: tensor("float32", [4, 3], Float32Array.from({ length: 12 }, (_, i) => 1 + i / 16)),
      // Their product with the second row, 1.1875, 1.25 and 1.3125, has more digits than half precision has: 4.85595703125.
      seed: tensor("float32", [1, 3], Float32Array.of(1.0078125, 1.5, 1.359375)),
    };
    using session = await openSession(builder.finish(), { threads: 1 });
    for (const slope of must((await session.run(feeds))["dx"], "dx").data) expect(Math.abs(Number(slope))).toBeLessThan(4.9 * 2 ** (dtype === "float16" ? -20 : -14));
  });
});
