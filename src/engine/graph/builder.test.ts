import { describe, expect, test } from "vitest";
import { tensor } from "../../core/base/tensor.ts";
import { GraphBuilder } from "./builder.ts";
import { add, matMul, mul, reduceSum, reshape, rmsNorm, sin, split } from "./operations.ts";

const builderWithInput = () => {
  const builder = new GraphBuilder();
  return { builder, x: builder.input("x", "float32", ["T", 3]) };
};

describe("a graph under construction", () => {
  test("makes equal nodes once, over equal constants too", () => {
    const { builder, x } = builderWithInput();
    expect(add(sin(x), 2.5)).toBe(add(sin(x), 2.5));
    expect(builder.nodes.map((n) => n.op)).toEqual(["Sin", "Add"]);
  });

  test("keeps nodes apart that differ in an attribute, in the order of inputs or in a constant's sign of zero", () => {
    const { builder, x } = builderWithInput();
    const y = sin(x);
    expect(reduceSum(x, [0])).not.toBe(reduceSum(x, [1]));
    expect(add(x, y)).not.toBe(add(y, x));
    expect(builder.scalar(0)).not.toBe(builder.scalar(-0));
    expect(builder.constant(tensor("int32", [1], Int32Array.of(0)))).not.toBe(builder.constant(tensor("float32", [1], Float32Array.of(0))));
  });

  test("drops nodes, weights and constants that no output needs, and keeps every input", () => {
    const { builder, x } = builderWithInput();
    builder.input("idle", "float32", [2]);
    const w = builder.weight("w", "float32", [3, 5]);
    mul(matMul(x, builder.weight("unused", "float32", [3, 7])), 7);
    builder.output("y", mul(matMul(x, w), 3));
    const graph = builder.finish();
    expect(graph.nodes.map((n) => n.op)).toEqual(["MatMul", "Mul"]);
    expect(graph.weights.map((n) => n.name)).toEqual(["w"]);
    expect(graph.constants.map((c) => [...c.tensor.data])).toEqual([[3]]);
    expect(graph.inputs.map((n) => n.name)).toEqual(["x", "idle"]);
  });

  test("keeps a node of which only the second output is needed", () => {
    const { builder, x } = builderWithInput();
    const [, second = x] = split(x, 1, [1, 2]);
    builder.output("y", second);
    expect(builder.finish().nodes.map((n) => n.op)).toEqual(["Split"]);
  });

  test("refuses values of another graph, as an input of a node and as an output", () => {
    const { builder } = builderWithInput();
    const foreign = new GraphBuilder().input("z", "float32", [3]);
    expect(() => builder.emit("Neg", [foreign], {})).toThrow("Neg: an input belongs to another graph");
    expect(() => builder.output("y", foreign)).toThrow("output y: its value belongs to another graph");
  });

  test("gives a weight of one name once, and refuses it under another type", () => {
    const builder = new GraphBuilder();
    expect(builder.weight("w", "float32", [3, 5])).toBe(builder.weight("w", "float32", [3, 5]));
    expect(() => builder.weight("w", "float32", [5, 3])).toThrow("graph: weight w is float32[3, 5] and asked for as float32[5, 3]");
  });

  test("refuses a name that is taken, whether by an input, a weight or an output", () => {
    const { builder, x } = builderWithInput();
    expect(() => builder.input("x", "float32", [2])).toThrow("called x");
    expect(() => builder.weight("x", "float32", [2])).toThrow("called x");
    expect(() => builder.output("x", x)).toThrow("called x");
  });

  test("names op and shapes where inputs do not fit", () => {
    const { builder, x } = builderWithInput();
    expect(() => matMul(x, builder.weight("w", "float32", [5, 7]))).toThrow("MatMul: expected columns of the first equal to rows of the second, got float32[T, 3] and float32[5, 7]");
    expect(() => rmsNorm(x, builder.weight("n", "float32", [5]), 1e-5)).toThrow("RmsNorm: expected a weight as long as the last axis, got float32[T, 3] and float32[5]");
    expect(() => reshape(x, ["T", 5])).toThrow("Reshape: expected as many elements as [T, 5], got float32[T, 3]");
  });

  test("is frozen once finished, and does not follow a list that its maker changes", () => {
    const { builder, x } = builderWithInput();
    const axes = [1];
    builder.output("y", reduceSum(x, axes));
    const graph = builder.finish();
    axes[0] = 0;
    expect(graph.nodes[0]?.attributes).toEqual({ axes: [1] });
    for (const part of [graph, graph.nodes, graph.values, graph.outputs, graph.nodes[0], graph.nodes[0]?.inputs, graph.nodes[0]?.attributes]) expect(Object.isFrozen(part)).toBe(true);
  });
});
