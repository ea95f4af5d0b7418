import { describe, expect, test } from "vitest";
import { centralDifferences, relativeError } from "../../../test/support/numbers.ts";
import { sumAll } from "../../../test/support/op-graph.ts";
import { must } from "../../core/base/errors.ts";
import { normals, randomKey } from "../../core/base/random.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { add, cast, crossEntropy, exp, isFinite, lessOrEqual, matMul, mul, reduceMax, reduceSum, rmsNorm, rotaryEmbedding, scalar, sigmoid, sin, stopGradient, where } from "../graph/operations.ts";
import type { Value } from "../graph/value.ts";
import type { Graph } from "../graph/types.ts";
import { evaluateReference } from "../runtime/reference.ts";
import { gradient } from "./gradient.ts";

const draw = (purpose: string, shape: readonly number[]) => ({ dtype: "float32" as const, shape, data: normals(randomKey(5, purpose), [], shape.reduce((n, d) => n * d, 1)) });

/** The gradient of the sum of `value`. */
function slopes(builder: GraphBuilder, value: Value, parameters: readonly Value[]): readonly (Value | undefined)[] {
  const loss = sumAll(value);
  return gradient(builder, { value: loss, seed: builder.scalar(1) }, parameters);
}

function evaluate(graph: Graph, feeds: Readonly<Record<string, ReturnType<typeof draw>>>, name: string): Float64Array {
  return must(evaluateReference(graph, new Map(Object.entries(feeds))).get(name), name).data;
}

describe("the gradient of a graph", () => {
  test("sums over the paths of a value that is used several times", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", [2, 3]);
    const shared = sin(x); // Used three times below: x·s + s·s
    builder.output("dx", must(slopes(builder, add(mul(x, shared), mul(shared, shared)), [x])[0], "dx"));
    const feeds = { x: draw("x", [2, 3]) };
    const expected = feeds.x.data.map((v) => Math.sin(v) + v * Math.cos(v) + 2 * Math.sin(v) * Math.cos(v));
    expect(relativeError(evaluate(builder.finish(), feeds, "dx"), expected)).toBeLessThan(1e-12);
  });

  test("counts a value twice that is both inputs of one node", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", [3, 3]);
    builder.output("dx", must(slopes(builder, matMul(x, x, { transB: true, alpha: 0.5 }), [x])[0], "dx"));
    const feeds = { x: draw("x", [3, 3]) };
    // d/dx_ij of ½ Σ x xᵀ is the sum of column j.
    const column = (j: number): number => [0, 1, 2].reduce((sum, i) => sum + (feeds.x.data[i * 3 + j] ?? 0), 0);
    expect(relativeError(evaluate(builder.finish(), feeds, "dx"), feeds.x.data.map((_, i) => column(i % 3)))).toBeLessThan(1e-12);
  });

  test("is undefined for a parameter that does not reach the output, and the seed for the output itself", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", [3]);
    const idle = builder.input("idle", "float32", [3]);
    const y = sin(x);
    const seed = builder.input("seed", "float32", [3]);
    const after = sin(y);
    expect(gradient(builder, { value: y, seed }, [idle, y, after])).toEqual([undefined, seed, undefined]);
  });

  test("takes a value in the middle as a parameter", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", [5]);
    const middle = sin(x);
    const [dMiddle] = slopes(builder, mul(middle, middle), [middle]);
    builder.output("d", must(dMiddle, "d"));
    const feeds = { x: draw("x", [5]) };
    expect(relativeError(evaluate(builder.finish(), feeds, "d"), feeds.x.data.map((v) => 2 * Math.sin(v)))).toBeLessThan(1e-12);
  });

  test("does not ask what made a parameter, even where that has no gradient", () => {
    const builder = new GraphBuilder();
    const largest = reduceMax(builder.input("x", "float32", [5]), [0]);
    builder.output("d", must(slopes(builder, mul(largest, largest), [largest])[0], "d"));
    const feeds = { x: draw("x", [5]) };
    expect(relativeError(evaluate(builder.finish(), feeds, "d"), [2 * Math.max(...feeds.x.data)])).toBeLessThan(1e-12);
  });

  test("may be taken again, for second derivatives", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", [2, 3]);
    const [first = x] = slopes(builder, mul(sigmoid(x), sin(x)), [x]);
    builder.output("first", sumAll(first));
    const alone = builder.finish();
    builder.output("second", must(slopes(builder, first, [x])[0], "second"));
    const feeds = { x: draw("x", [2, 3]) };
    const numeric = centralDifferences(() => evaluate(alone, feeds, "first")[0] ?? Number.NaN, feeds.x.data);
    expect(relativeError(evaluate(builder.finish(), feeds, "second"), numeric)).toBeLessThan(1e-6);
  });
});

describe("what the gradient leaves out", () => {
  /** Frozen products below and above one that learns; how many nodes the gradient adds. */
  function backwardNodes(below: number, above: number): readonly string[] {
    const builder = new GraphBuilder();
    let hidden = builder.input("x", "float32", ["B", "T", 5]);
    for (let i = 0; i < below; i++) hidden = sin(matMul(hidden, builder.weight(`below${i}`, "float32", [5, 5])));
    const learning = builder.input("learning", "float32", [5, 5]);
    hidden = matMul(hidden, learning);
    for (let i = 0; i < above; i++) hidden = matMul(hidden, builder.weight(`above${i}`, "float32", [5, 5]), { transB: true });
    const before = builder.nodes.length;
    gradient(builder, { value: hidden, seed: builder.input("seed", "float32", ["B", "T", 5]) }, [learning]);
    return builder.nodes.slice(before).map((n) => n.op);
  }

  test("is everything below the lowest tensor that learns", () => {
    expect(backwardNodes(7, 2)).toEqual(backwardNodes(0, 2));
  });

  test("is the gradient of frozen weights: one product a layer goes down", () => {
    const products = (above: number): number => backwardNodes(1, above).filter((op) => op === "MatMul").length;
    expect([products(0), products(1), products(3)]).toEqual([1, 2, 4]);
  });

  test("is what flows into conditions and row numbers, which are made from real numbers all the same", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", [7]);
    const safe = where(isFinite(x), mul(x, x), scalar(x, 0));
    builder.output("dx", must(slopes(builder, where(lessOrEqual(safe, scalar(x, 0.5)), safe, x), [x])[0], "dx"));
    const feeds = { x: draw("x", [7]) };
    const expected = feeds.x.data.map((v) => (v * v <= 0.5 ? 2 * v : 1));
    expect(new Set(expected).size).toBeGreaterThan(2);
    expect(relativeError(evaluate(builder.finish(), feeds, "dx"), expected)).toBeLessThan(1e-12);
  });
});

describe("a value whose gradient stops", () => {
  const seven = () => {
    const builder = new GraphBuilder();
    return { builder, x: builder.input("x", "float32", [7]) };
  };

  test("is a constant factor: the product's slope is the other factor's alone", () => {
    const { builder, x } = seven();
    builder.output("dx", must(slopes(builder, mul(stopGradient(exp(x)), mul(x, x)), [x])[0], "dx"));
    const feeds = { x: draw("x", [7]) };
    expect(relativeError(evaluate(builder.finish(), feeds, "dx"), feeds.x.data.map((v) => Math.exp(v) * 2 * v))).toBeLessThan(1e-6);
  });

  test("leaves a parameter without a gradient where no other way leads to the loss, and costs no nodes", () => {
    const { builder, x } = seven();
    const y = stopGradient(exp(x));
    const before = builder.nodes.length;
    expect(gradient(builder, { value: y, seed: y }, [x])).toEqual([undefined]);
    expect(builder.nodes.length).toBe(before);
  });

  test("has a gradient itself, which goes no further back", () => {
    const { builder, x } = seven();
    const y = stopGradient(exp(x));
    const [dx, dy] = slopes(builder, mul(y, y), [x, y]);
    expect(dx).toBeUndefined();
    builder.output("dy", must(dy, "dy"));
    const feeds = { x: draw("x", [7]) };
    expect(relativeError(evaluate(builder.finish(), feeds, "dy"), feeds.x.data.map((v) => 2 * Math.exp(v)))).toBeLessThan(1e-6);
  });

  test("lets through what has no gradient at all, such as a cast to whole numbers", () => {
    const { builder, x } = seven();
    const rounded = cast(cast(stopGradient(x), "int32"), "float32");
    builder.output("dx", must(slopes(builder, mul(x, rounded), [x])[0], "dx"));
    const feeds = { x: { ...draw("x", [7]), data: Float64Array.of(-2.5, 3.25, 1.5, -7.75, 5.5, 2.25, -3.5) } };
    expect(evaluate(builder.finish(), feeds, "dx")).toEqual(Float64Array.of(-2, 3, 1, -7, 5, 2, -3));
  });
});

describe("what the gradient refuses", () => {
  const setting = () => {
    const builder = new GraphBuilder();
    return { builder, x: builder.input("x", "float32", [2, 3, 4]), cosine: builder.input("cosine", "float32", [2, 3, 2]), targets: builder.input("targets", "int32", [2, 3]) };
  };

  test("a seed of another shape or dtype", () => {
    const { builder, x } = setting();
    expect(() => gradient(builder, { value: reduceSum(x, [2]), seed: x }, [x])).toThrow("expected a seed float32[2, 3, 1] as the output, got float32[2, 3, 4]");
    expect(() => gradient(builder, { value: x, seed: cast(x, "int32") }, [x])).toThrow("expected a seed float32[2, 3, 4] as the output, got int32[2, 3, 4]");
  });

  test("values of another graph", () => {
    const { builder, x } = setting();
    const foreign = setting().x;
    expect(() => gradient(builder, { value: x, seed: x }, [foreign])).toThrow("another graph");
    expect(() => gradient(builder, { value: foreign, seed: x }, [x])).toThrow("another graph");
    expect(() => gradient(builder, { value: x, seed: foreign }, [x])).toThrow("another graph");
  });

  test("a cast to whole numbers on the way", () => {
    const { builder, x } = setting();
    expect(() => slopes(builder, cast(cast(x, "int32"), "float32"), [x])).toThrow("Cast to int32 has no gradient: its result is not a real number");
  });

  test("angles that learn", () => {
    const { builder, x, cosine } = setting();
    expect(() => slopes(builder, rotaryEmbedding(x, cosine, cosine), [cosine])).toThrow("RotaryEmbedding has no gradient for its input 1");
  });

  test.each(["RmsNorm", "CrossEntropy", "LinearCrossEntropy"] as const)("a loss through the second output of %s", (op) => {
    const { builder, x, targets } = setting();
    const w = builder.weight("w", "float32", [5, 4]);
    const outputs = op === "RmsNorm" ? builder.emit(op, [x, builder.weight("n", "float32", [4])], { epsilon: 0.1 })
      : op === "CrossEntropy" ? builder.emit(op, [x, targets], {})
      : builder.emit(op, [x, w, targets], { chunks: 1, minimumRows: 1, softCap: 0 });
    expect(() => slopes(builder, must(outputs[1], "second output"), [x])).toThrow(`${op}: its second output is for its own gradient only`);
  });

  test.each([1, 2])("a loss through output %i of LayerNorm", (index) => {
    const { builder, x } = setting();
    const outputs = builder.emit("LayerNorm", [x, builder.weight("n", "float32", [4]), builder.weight("b", "float32", [4])], { epsilon: 0.1 });
    expect(() => slopes(builder, must(outputs[index], "further output"), [x])).toThrow("LayerNorm: its further outputs are for its own gradient only");
  });

  test("a second derivative of a norm or a loss, which would need that output", () => {
    const { builder, x, targets } = setting();
    for (const value of [rmsNorm(x, builder.weight("n", "float32", [4]), 0.1), crossEntropy(x, targets)]) {
      const [first = x] = slopes(builder, value, [x]);
      expect(() => slopes(builder, first, [x])).toThrow("second output is for its own gradient only");
    }
  });

  test("a mean over a symbolic axis, by name", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", ["T", 3]);
    expect(() => slopes(builder, must(builder.emit("ReduceMean", [x], { axes: [0] })[0], "mean"), [x])).toThrow("ReduceMean: no gradient over a symbolic axis");
  });
});
