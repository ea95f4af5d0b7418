import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tensor } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { Dim } from "../graph/dims.ts";
import * as g from "../graph/operations.ts";
import type { Graph } from "../graph/types.ts";
import type { Value } from "../graph/value.ts";
import { verifyGraph } from "../graph/verify.ts";
import { openSession } from "../runtime/onnx-session.ts";
import { evaluateReference, toReference } from "../runtime/reference.ts";
import { selectRows } from "./select-rows.ts";

const [CLIENTS, ROWS, WIDTH] = [2, 5, 4];

interface Net {
  readonly builder: GraphBuilder;
  readonly x: Value;
  readonly rows: Value;
  readonly feeds: Readonly<Record<string, Tensor>>;
}

function net(picked: readonly number[] = [4, 0, 0, 1, 3, 2]): Net {
  const builder = new GraphBuilder();
  const feed = (count: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(1 + i * 1.7));
  return {
    builder,
    x: builder.input("x", "float32", [CLIENTS, "N", WIDTH]),
    rows: builder.input("rows", "int32", [CLIENTS, "L"]),
    feeds: {
      x: tensor("float32", [CLIENTS, ROWS, WIDTH], feed(CLIENTS * ROWS * WIDTH)),
      rows: tensor("int32", [CLIENTS, picked.length / CLIENTS], Int32Array.from(picked)),
    },
  };
}

const matrix = (of: Value, ...shape: number[]): Value => g.mul(g.expand(of.builder.constant(tensor("float32", shape.map(() => 1), Float32Array.of(0.5))), shape), of.builder.constant(tensor("float32", [shape.at(-1) ?? 1], Float32Array.from({ length: shape.at(-1) ?? 1 }, (_, i) => Math.cos(i)))));
const mask = (of: Value): Value => g.lessOrEqual(of, 0.3);

/** Steps that keep `[C, N, WIDTH]`: of each row alone, and of rows together. */
const ALONE: Readonly<Record<string, (x: Value) => Value>> = {
  "a sum with itself under an activation": (x) => g.add(x, g.silu(x)),
  "a product with a weight": (x) => g.matMul(x, matrix(x, WIDTH, WIDTH)),
  "a product with a transposed weight of each client": (x) => g.matMul(x, matrix(x, CLIENTS, WIDTH, WIDTH), { transB: true }),
  "a norm": (x) => g.rmsNorm(x, matrix(x, WIDTH), 1e-5),
  "a layer norm": (x) => g.layerNorm(x, matrix(x, WIDTH), matrix(x, WIDTH), 1e-5),
  "parts side by side": (x) => {
    const [a = x, b = x] = g.split(x, 2, [2, 2]);
    return g.matMul(g.mul(g.gelu(a, "tanh"), b), matrix(x, 2, WIDTH));
  },
  "dropout": (x) => g.dropout(x, mask(x), 0.25),
  "a choice": (x) => g.where(mask(x), x, g.tanh(x)),
  "a vector of each client": (x) => g.mul(x, matrix(x, CLIENTS, 1, WIDTH)),
  "a softmax": (x) => g.softmax(x),
};
const TOGETHER: Readonly<Record<string, (x: Value) => Value>> = {
  "a mean over rows": (x) => g.sub(x, g.reduceMean(x, [1])),
  "a look at other rows": (x) => g.softmaxProduct(g.matMul(x, x, { transB: true }), x),
  "a transposed product": (x) => g.matMul(x, g.matMul(x, x, { transA: true })),
};

function evaluate(graph: Graph, feeds: Readonly<Record<string, Tensor>>): readonly number[] {
  return [...(evaluateReference(graph, new Map(Object.entries(feeds).map(([name, t]) => [name, toReference(t)]))).get("y")?.data ?? [])];
}

/** Axis 1 of the outputs of ops of this name that are left in the graph. */
const rowsOf = (graph: Graph, ...ops: readonly string[]): readonly (Dim | undefined)[] => graph.nodes.filter(({ op }) => ops.includes(op)).flatMap(({ outputs }) => outputs.map((id) => graph.values[id]?.shape[1]));

describe("selected rows", () => {
  test("are those of the whole value, whatever it is made by", async () => {
    const steps = { ...ALONE, ...TOGETHER };
    await fc.assert(fc.asyncProperty(fc.array(fc.constantFrom(...Object.keys(steps)), { maxLength: 6 }), fc.array(fc.integer({ min: 0, max: ROWS - 1 }), { minLength: 1, maxLength: 8 }), async (names, picked) => {
      const both = [g.gatherRows, undefined].map((gather) => {
        const { builder, x, rows, feeds } = net([...picked, ...picked.toReversed()]);
        const value = names.reduce((y, name) => (steps[name] ?? g.neg)(y), x);
        builder.output("y", gather === undefined ? selectRows(builder, value, rows) : gather(value, rows));
        const graph = builder.finish();
        verifyGraph(graph);
        return { graph, feeds };
      });
      const [whole, selected] = both.map(({ graph, feeds }) => evaluate(graph, feeds));
      expect(selected).toEqual(whole);
      expect(whole).toHaveLength(2 * picked.length * WIDTH);
      const { graph, feeds } = both[1] ?? { graph: undefined, feeds: {} };
      if (graph === undefined) return;
      using session = await openSession(graph, { threads: 1 });
      const { y } = await session.run(feeds);
      (whole ?? []).forEach((expected, i) => expect(Number(y?.data[i])).toBeCloseTo(expected, 4));
    }), { numRuns: 40, seed: 4 });
  });

  test.each(Object.keys(ALONE))("%s is made for them alone", (name) => {
    const { builder, x, rows } = net();
    builder.output("y", selectRows(builder, (ALONE[name] ?? g.neg)(g.neg(x)), rows));
    const graph = builder.finish();
    expect(rowsOf(graph, "Neg")).toEqual(["L"]);
    expect(new Set(graph.nodes.flatMap(({ outputs }) => outputs.map((id) => graph.values[id]?.shape[1])))).not.toContain("N");
  });

  test.each(Object.keys(TOGETHER))("%s sees all rows", (name) => {
    const { builder, x, rows } = net();
    builder.output("y", selectRows(builder, g.exp((TOGETHER[name] ?? g.neg)(g.neg(x))), rows));
    const graph = builder.finish();
    expect(rowsOf(graph, "Neg")).toEqual(["N"]);
    expect(rowsOf(graph, "Exp")).toEqual(["L"]);
  });

  test("of a residual stream begin where its sums are needed whole no more", () => {
    const { builder, x, rows } = net();
    const stream = g.add(x, g.tanh(x));
    const other = g.softmaxProduct(g.matMul(stream, stream, { transB: true }), stream);
    builder.output("y", selectRows(builder, g.add(stream, g.exp(other)), rows));
    const graph = builder.finish();
    expect(rowsOf(graph, "Tanh")).toEqual(["N"]);
    expect(rowsOf(graph, "Exp")).toEqual(["L"]);
    expect(graph.nodes.filter(({ op }) => op === "GatherRows")).toHaveLength(2);
  });

  test("are the input's own where nothing is made of it", () => {
    const { builder, x, rows } = net();
    expect(selectRows(builder, x, rows)).toBe(g.gatherRows(x, rows));
  });

  test("leave a table whose rows broadcast over clients whole", () => {
    const { builder, x, rows } = net();
    const table = builder.input("table", "float32", ["N", WIDTH]);
    builder.output("y", selectRows(builder, g.exp(g.add(x, table)), rows));
    const graph = builder.finish();
    expect(rowsOf(graph, "Add")).toEqual(["N"]);
    expect(rowsOf(graph, "Exp")).toEqual(["L"]);
  });
});
