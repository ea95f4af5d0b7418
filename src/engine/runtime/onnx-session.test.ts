import { mkdtempSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sumAll } from "../../../test/support/op-graph.ts";
import { relativeError } from "../../../test/support/numbers.ts";
import { peakAlive } from "../../../test/support/profile.ts";
import { drawRows, drawTensor } from "../../../test/support/tensors.ts";
import { aliveResources } from "../../core/base/disposal.ts";
import { must } from "../../core/base/errors.ts";
import { sha256 } from "../../core/base/hash.ts";
import { bytesOf, tensor, type Tensor } from "../../core/base/tensor.ts";
import { writeSafetensors } from "../../core/formats/safetensors-writer.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { add, gatherRows, linearCrossEntropy, matMul, mul, rmsNorm, scatterRows, sin, softmax } from "../graph/operations.ts";
import type { Graph } from "../graph/types.ts";
import { gradient } from "../passes/gradient.ts";
import { openSession } from "./onnx-session.ts";

/** sum = x + 3 y, both `[T, 3]`. */
function twoInputs(): Graph {
  const builder = new GraphBuilder();
  builder.output("sum", add(builder.input("x", "float32", ["T", 3]), mul(builder.input("y", "float32", ["T", 3]), 3)));
  return builder.finish();
}

describe("a session", () => {
  test("names the input whose feed is missing, of another dtype, rank or length", async () => {
    using session = await openSession(twoInputs(), { threads: 1 });
    const x = drawTensor("x", [2, 3]);
    const refused = (y: Tensor | undefined, message: string) => expect(session.run(y === undefined ? { x } : { x, y })).rejects.toThrow(message);
    await refused(undefined, "session: input y: expected float32[T, 3], got nothing");
    await refused(drawTensor("y", [1, 3]), "dimension T: expected 2, as input x has it, got 1 in input y");
    await refused(drawRows([2, 3], 5), "session: input y: expected float32[T, 3], got int32[2, 3]");
    await refused(drawTensor("y", [3]), "session: input y: expected float32[T, 3], got float32[3]");
    await refused(drawTensor("y", [2, 5]), "session: input y: expected float32[T, 3], got float32[2, 5]");
  });

  test("refuses to be fed a dtype that it has no array for", async () => {
    const builder = new GraphBuilder();
    builder.output("y", builder.input("x", "float16", [2]));
    using session = await openSession(builder.finish(), { threads: 1 });
    await expect(session.run({ x: tensor("float16", [2], Uint16Array.of(1, 2)) })).rejects.toThrow("session: input x: float16 cannot be fed");
  });

  test("serves one shape after another, and leaves earlier results as they were", async () => {
    using session = await openSession(twoInputs(), { threads: 1 });
    const run = async (t: number) => must((await session.run({ x: drawTensor("x", [t, 3]), y: drawTensor("y", [t, 3]) }))["sum"], "sum");
    const results = [await run(2), await run(7), await run(5), await run(2)];
    expect(results.map((r) => r.shape)).toEqual([[2, 3], [7, 3], [5, 3], [2, 3]]);
    for (const { shape: [t = 0], data } of results) {
      const y = drawTensor("y", [t, 3]).data;
      expect(relativeError(data, Array.from(drawTensor("x", [t, 3]).data, (x, i) => x + 3 * (y[i] ?? 0)))).toBeLessThan(1e-6);
    }
  });

  test("takes the results of one run as the feeds of the next", async () => {
    using session = await openSession(twoInputs(), { threads: 1 });
    let x: Tensor = drawTensor("x", [2, 3]);
    const y = drawTensor("y", [2, 3]);
    for (let i = 0; i < 3; i++) x = must((await session.run({ x, y }))["sum"], "sum");
    expect(relativeError(x.data, Array.from(drawTensor("x", [2, 3]).data, (v, i) => v + 9 * (y.data[i] ?? 0)))).toBeLessThan(1e-6);
  });

  test("takes and gives truth values and whole numbers as they are", async () => {
    const builder = new GraphBuilder();
    const [a, b] = [builder.input("a", "int32", [3]), builder.input("b", "bool", [3])];
    builder.output("equal", must(builder.emit("Equal", [a, builder.constant(tensor("int32", [], Int32Array.of(5)))], {})[0], "equal"));
    builder.output("same", b);
    using session = await openSession(builder.finish(), { threads: 1 });
    const { equal, same } = await session.run({ a: tensor("int32", [3], Int32Array.of(5, -5, 5)), b: tensor("bool", [3], Uint8Array.of(0, 1, 1)) });
    expect(equal).toEqual(tensor("bool", [3], Uint8Array.of(1, 0, 1)));
    expect(same).toEqual(tensor("bool", [3], Uint8Array.of(0, 1, 1)));
  });

  test("is counted until it is disposed of, and refuses to run afterwards", async () => {
    const before = aliveResources("session");
    const session = await openSession(twoInputs(), { threads: 1 });
    {
      using _second = await openSession(twoInputs(), { threads: 1 });
      expect(aliveResources("session")).toBe(before + 2);
    }
    session[Symbol.dispose]();
    expect(aliveResources("session")).toBe(before);
    const x = drawTensor("x", [2, 3]);
    await expect(session.run({ x, y: x })).rejects.toThrow("disposed");
  });
});

describe("a session that cannot be opened", () => {
  const withWeight = (): Graph => {
    const builder = new GraphBuilder();
    builder.output("y", matMul(builder.input("x", "float32", ["T", 50]), builder.weight("w", "float32", [50, 50])));
    return builder.finish();
  };

  test("says which weight has no file, and leaves nothing alive", async () => {
    const before = aliveResources("session");
    await expect(openSession(withWeight(), { threads: 1 })).rejects.toThrow("weights for w");
    expect(aliveResources("session")).toBe(before);
  });

  test("is reported with the graph's hash where the weight's file is too short", async () => {
    const before = aliveResources("session");
    const folder = mkdtempSync(join(tmpdir(), "fedtune-session-"));
    const path = join(folder, "w.safetensors");
    writeSafetensors(path, new Map([["w", drawTensor("w", [50, 50])]]));
    truncateSync(path, 5000);
    const locate = () => ({ file: "w.safetensors", offset: 72, length: 10_000 });
    await expect(openSession(withWeight(), { threads: 1, weights: { folder, locate } })).rejects.toThrow(/^graph [0-9a-f]{12}: expected onnxruntime to accept it, got .*initializer: w .*out of bounds/s);
    expect(aliveResources("session")).toBe(before);
    rmSync(folder, { recursive: true });
  });

  test("is refused by the verifier before onnxruntime sees it", async () => {
    const graph = twoInputs();
    await expect(openSession({ ...graph, nodes: graph.nodes.toReversed() }, { threads: 1 })).rejects.toThrow("graph: node 0 (Add) reads value");
  });
});

test("a loss in pieces is done with one before it begins the next, and its gradient with it", async () => {
  const [L, D, V, chunks] = [512, 16, 2000, 8];
  const builder = new GraphBuilder();
  const hidden = builder.input("hidden", "float32", [1, L, D]);
  const losses = linearCrossEntropy(hidden, builder.input("head", "float32", [V, D]), builder.input("targets", "int32", [1, L]), { chunks, minimumRows: 1 });
  builder.output("d", must(gradient(builder, { value: losses, seed: builder.input("seed", "float32", [1, L]) }, [hidden])[0], "slope"));
  builder.output("losses", losses);
  const feeds = { hidden: drawTensor("hidden", [1, L, D]), head: drawTensor("head", [V, D]), targets: drawRows([1, L], V), seed: drawTensor("seed", [1, L]) };
  // Logits and probabilities of one piece, and little else; the probabilities of all pieces take four times as much.
  expect(await peakAlive(builder.finish(), feeds)).toBeLessThan(2.5 * ((4 * L * V) / chunks));
});

describe("repeated runs", () => {
  const [C, N, L, D, V] = [2, 400, 300, 48, 211];

  /** A loss over gathered rows (which repeat) with gradients of everything, large enough to be shared out to threads. */
  function training(): Graph {
    const builder = new GraphBuilder();
    const input = (name: string, ...shape: (string | number)[]) => builder.input(name, "float32", shape);
    const [x, w, n, head] = [input("x", "C", "N", D), input("w", "C", D, D), input("n", D), input("head", V, D)];
    const hidden = rmsNorm(add(x, matMul(softmax(matMul(x, x, { transB: true, alpha: 0.1 })), sin(matMul(x, w)))), n, 1e-5);
    const losses = linearCrossEntropy(gatherRows(hidden, builder.input("rows", "int32", ["C", "L"])), head, builder.input("targets", "int32", ["C", "L"]), { chunks: 3, minimumRows: 16 });
    const loss = sumAll(losses);
    builder.output("loss", loss);
    gradient(builder, { value: loss, seed: builder.scalar(1) }, [x, w, n, head]).forEach((slope, i) => builder.output(`d${i}`, must(slope, "slope")));
    return builder.finish();
  }

  test("give the same bytes, in one session and in several, with one thread and with two", async () => {
    const feeds = { x: drawTensor("x", [C, N, D]), w: drawTensor("w", [C, D, D]), n: drawTensor("n", [D]), head: drawTensor("head", [V, D]), rows: drawRows([C, L], 97), targets: drawRows([C, L], V) };
    const seen = new Set<string>();
    for (const threads of [1, 2, 2]) {
      using session = await openSession(training(), { threads });
      for (let i = 0; i < 4; i++) {
        const results = await session.run(feeds);
        seen.add(sha256(...Object.values(results).map((t) => bytesOf(t.data))));
      }
    }
    expect(seen.size).toBe(1);
  });

  test("add many rows into few with the same bytes on two threads as on one", async () => {
    const [rows, width] = [40_000, 64];
    const builder = new GraphBuilder();
    builder.output("y", scatterRows(builder.input("x", "float32", [1, "L", width]), builder.input("rows", "int32", [1, "L"]), 5));
    const graph = builder.finish();
    const feeds = { x: tensor("float32", [1, rows, width], Float32Array.from({ length: rows * width }, (_, i) => ((i * 7919) % 1009) / 1009)), rows: drawRows([1, rows], 3) };
    const seen = new Set<string>();
    for (const threads of [1, 2]) {
      using session = await openSession(graph, { threads });
      for (let i = 0; i < 15; i++) seen.add(sha256(bytesOf(must((await session.run(feeds))["y"], "y").data)));
    }
    expect(seen.size).toBe(1);
  });
});
