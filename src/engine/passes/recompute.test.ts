import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { profileOf } from "../../../test/support/profile.ts";
import { feedsOf, net, within } from "../../../test/support/recompute-net.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import { GraphBuilder } from "../graph/builder.ts";
import * as g from "../graph/operations.ts";
import type { Graph } from "../graph/types.ts";
import { verifyGraph } from "../graph/verify.ts";
import { openSession } from "../runtime/onnx-session.ts";
import { evaluateReference, toReference } from "../runtime/reference.ts";
import { findPeak } from "./memory-model.ts";

const LAYERS = 5;

async function run(graph: Graph, feeds: Record<string, Tensor>): Promise<Record<string, Tensor>> {
  using session = await openSession(graph, { threads: 1 });
  return { ...(await session.run(feeds)) };
}

describe("a graph that recomputes", () => {
  test("gives what the graph gave, to the last bit, whatever the budget", async () => {
    const feeds = feedsOf(LAYERS, 7);
    const references = new Map(Object.entries(feeds).map(([name, t]) => [name, toReference(t)]));
    const plain = net(LAYERS);
    const expected = evaluateReference(plain.graph, references);
    const expectedBits = await run(plain.graph, feeds);
    await fc.assert(fc.asyncProperty(fc.integer({ min: 0, max: 12_000 }), fc.integer({ min: 5, max: 64 }), async (bytes, tokens) => {
      const { graph } = within(plain, bytes, tokens);
      verifyGraph(graph);
      expect(evaluateReference(graph, references)).toEqual(expected);
      expect(await run(graph, feeds)).toEqual(expectedBits);
    }), { numRuns: 25, seed: 9 });
  });

  test("never takes more by the model than under a larger budget asked for it, and costs no less", () => {
    const plain = net(LAYERS);
    const budgets = [1_000_000, 400_000, 300_000, 200_000, 100_000, 0];
    const results = budgets.map((bytes) => within(plain, bytes, 100));
    const peaks = results.map(({ after }) => after.bytes);
    expect(peaks).toEqual(peaks.toSorted((a, b) => b - a));
    expect(results.map(({ share }) => share)).toEqual(results.map(({ share }) => share).toSorted((a, b) => a - b));
    results.forEach(({ graph, after }, i) => {
      expect(findPeak(graph, new Map([["T", 100]]))).toEqual(after);
      if (after.bytes > (budgets[i] ?? 0)) expect(after.bytes).toBe(peaks.at(-1));
    });
    expect(peaks.at(-1)).toBeLessThan((peaks[0] ?? 0) / 2);
    expect(results.at(-1)?.share).toBeLessThan(0.5);
  });

  test("is the same graph where all fits", () => {
    const plain = net(LAYERS);
    expect(within(plain, 1e9, 100).graph).toBe(plain.graph);
  });

  test("gives up scores before products: what is large and cheap goes first", () => {
    const plain = net(LAYERS);
    const { graph } = within(plain, 0.8 * within(plain, 1e9, 100).before.bytes, 100);
    const count = (op: string, { nodes }: Graph): number => nodes.filter((n) => n.op === op).length;
    expect(count("Softmax", graph)).toBeGreaterThan(LAYERS);
    expect(count("Split", graph)).toBe(LAYERS);
  });
});

describe("the memory model", () => {
  test("counts a value from the node that makes it to the last that reads it, and a view not at all", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", ["T", 2]);
    const a = g.exp(x); // 8 T bytes, read by b and d
    const b = g.neg(g.reshape(a, [2, "T"])); // 8 T
    const c = g.reduceSum(b, [0]); // 4 T
    builder.output("d", g.add(g.reshape(a, [2, "T"]), c)); // 8 T
    // At c: a, b and c. At d: a, c and d, as many.
    expect(findPeak(builder.finish(), new Map([["T", 5]]))).toEqual({ bytes: 5 * (8 + 8 + 4), at: 3 });
  });

  test("refuses a symbol without a size, by name", () => {
    expect(() => findPeak(net(1).graph, new Map())).toThrow("symbol T is not bound");
  });
});

test("the runtime runs every node that the graph has twice", async () => {
  const { graph } = within(net(LAYERS), 0, 64);
  const ran = await profileOf(graph, feedsOf(LAYERS, 64));
  const norms = graph.nodes.filter(({ op }) => op === "RmsNorm").length;
  expect(norms).toBeGreaterThan(LAYERS);
  expect(ran.filter(({ op }) => op === "SimplifiedLayerNormalization")).toHaveLength(norms);
});

/** Peak resident megabytes of a fresh process that runs the net once within a budget. */
function residentPeak(bytes: number): number {
  const script = `
    const { net, feedsOf, within } = await import(${JSON.stringify(new URL("../../../test/support/recompute-net.ts", import.meta.url).href)});
    const { openSession } = await import(${JSON.stringify(new URL("../runtime/onnx-session.ts", import.meta.url).href)});
    using session = await openSession(within(net(12), ${bytes}, 1024).graph, { threads: 1 });
    const before = process.resourceUsage().maxRSS;
    await session.run(feedsOf(12, 1024));
    console.log((process.resourceUsage().maxRSS - before) / 1000);`;
  return Number(execFileSync(process.execPath, ["--input-type=module-typescript", "-e", script], { encoding: "utf8" }));
}

test("a process takes less memory, not only the model", () => {
  const [all, little] = [residentPeak(1e12), residentPeak(0)];
  // Twelve layers keep scores of 4 MB each; without them one layer's remain.
  expect(all).toBeGreaterThan(50);
  expect(little).toBeLessThan(all / 2);
});
