import { expect, test } from "vitest";
import { centralDifferences, relativeError } from "../../../test/support/numbers.ts";
import { must } from "../../core/base/errors.ts";
import { normals, randomKey } from "../../core/base/random.ts";
import { elementCount, tensor } from "../../core/base/tensor.ts";
import { GraphBuilder } from "../../engine/graph/builder.ts";
import type { ReferenceTensor } from "../../engine/graph/ops/record.ts";
import { gradient } from "../../engine/passes/gradient.ts";
import { openSession } from "../../engine/runtime/onnx-session.ts";
import { evaluateReference } from "../../engine/runtime/reference.ts";
import { lstm, lstmSpecs, type LstmSizes } from "./lstm.ts";

const CLIENTS = 2;

function draw(name: string, shape: readonly number[]): ReferenceTensor {
  return { dtype: "float32", shape, data: Float64Array.from(normals(randomKey(3, name), [], elementCount(shape)), (x) => Math.fround(0.5 * x)) };
}

/** The graph of an LSTM with its gradients, and random feeds for it. */
function graphOf(tokens: number, sizes: LstmSizes) {
  const builder = new GraphBuilder();
  const specs = lstmSpecs("lstm", sizes);
  const x = builder.input("x", "float32", [CLIENTS, tokens, sizes.inFeatures]);
  const named = new Map(specs.map(({ name, shape }) => [name, builder.input(name, "float32", [CLIENTS, ...shape])]));
  const out = lstm((name) => must(named.get(name), name), "lstm", { x, layers: sizes.layers });
  const inputs = [x, ...named.values()];
  const gradients = gradient(builder, { value: out, seed: builder.input("seed", "float32", out.shape) }, inputs);
  builder.output("out", out);
  const names = ["x", ...named.keys()];
  gradients.forEach((value, i) => {
    if (value !== undefined) builder.output(`d ${names[i] ?? ""}`, value);
  });
  const shapes: [string, readonly number[]][] = [["x", [CLIENTS, tokens, sizes.inFeatures]], ...specs.map(({ name, shape }): [string, number[]] => [name, [CLIENTS, ...shape]]), ["seed", [CLIENTS, tokens, 2 * sizes.hidden]]];
  return { graph: builder.finish(), feeds: new Map(shapes.map(([name, shape]) => [name, draw(name, shape)])) };
}

/** The recurrence written out for one client, from PyTorch's documentation: `[n, 2 · hidden]` rows. */
function plain(feeds: ReadonlyMap<string, ReferenceTensor>, client: number, { hidden, layers }: LstmSizes): number[][] {
  const rows = (name: string): number[][] => {
    const { shape: [, count = 1, width = 1], data } = must(feeds.get(name), name);
    return Array.from({ length: count }, (_, i) => [...data.subarray((client * count + i) * width, (client * count + i + 1) * width)]);
  };
  const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, v, i) => sum + v * (b[i] ?? 0), 0);
  const sigmoid = (v: number): number => 1 / (1 + Math.exp(-v));
  let x = rows("x");
  for (let layer = 0; layer < layers; layer++) {
    const [forwards = [], backwards = []] = ["", "_reverse"].map((ending) => {
      const own = (name: string): number[][] => rows(`lstm.${name}_l${layer}${ending}`);
      const [input, state, inputBias, stateBias] = [own("weight_ih"), own("weight_hh"), own("bias_ih").flat(), own("bias_hh").flat()];
      let [h, c] = [Array.from({ length: hidden }, () => 0), Array.from({ length: hidden }, () => 0)];
      const out = (ending === "" ? x : x.toReversed()).map((token) => {
        const gate = (k: number): number => dot(input[k] ?? [], token) + dot(state[k] ?? [], h) + (inputBias[k] ?? 0) + (stateBias[k] ?? 0);
        c = c.map((old, j) => sigmoid(gate(hidden + j)) * old + sigmoid(gate(j)) * Math.tanh(gate(2 * hidden + j)));
        h = c.map((cell, j) => sigmoid(gate(3 * hidden + j)) * Math.tanh(cell));
        return h;
      });
      return ending === "" ? out : out.toReversed();
    });
    x = forwards.map((row, i) => [...row, ...(backwards[i] ?? [])]);
  }
  return x;
}

test.each([
  ["five tokens, two layers", 5, { inFeatures: 7, hidden: 3, layers: 2 }],
  ["one token", 1, { inFeatures: 3, hidden: 2, layers: 1 }],
  ["three layers", 2, { inFeatures: 2, hidden: 5, layers: 3 }],
])("an unrolled LSTM gives what its equations say, for each client: %s", async (_, tokens, sizes) => {
  const { graph, feeds } = graphOf(tokens, sizes);
  const expected = [0, 1].flatMap((client) => plain(feeds, client, sizes).flat());
  expect(relativeError(must(evaluateReference(graph, feeds).get("out"), "out").data, expected)).toBeLessThan(1e-12);
  using session = await openSession(graph, { threads: 1 });
  const out = await session.run(Object.fromEntries([...feeds].map(([name, { shape, data }]) => [name, tensor("float32", shape, Float32Array.from(data))])));
  expect(relativeError(must(out["out"], "out").data, expected)).toBeLessThan(1e-6);
});

test("its gradients are those of central differences", () => {
  const { graph, feeds } = graphOf(3, { inFeatures: 3, hidden: 2, layers: 2 });
  const seed = must(feeds.get("seed"), "seed").data;
  const value = evaluateReference(graph, feeds);
  const loss = (): number => must(evaluateReference(graph, feeds).get("out"), "out").data.reduce((sum, v, i) => sum + v * (seed[i] ?? 0), 0);
  for (const [name, { data }] of feeds) {
    if (name === "seed") continue;
    expect([name, relativeError(must(value.get(`d ${name}`), name).data, centralDifferences(loss, data)) < 1e-7]).toEqual([name, true]);
  }
});
