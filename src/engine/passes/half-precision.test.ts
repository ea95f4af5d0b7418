import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { must } from "../../core/base/errors.ts";
import { normals, randomKey } from "../../core/base/random.ts";
import { elementCount, HALF_DTYPES, tensor, type DType, type HalfDType } from "../../core/base/tensor.ts";
import { widen } from "../../core/formats/half.ts";
import { GraphBuilder } from "../graph/builder.ts";
import * as g from "../graph/operations.ts";
import type { OpName } from "../graph/op-attributes.ts";
import type { Graph } from "../graph/types.ts";
import type { Value } from "../graph/value.ts";
import { verifyGraph } from "../graph/verify.ts";
import { openSession } from "../runtime/onnx-session.ts";
import { evaluateReference, toReference } from "../runtime/reference.ts";
import { gradient } from "./gradient.ts";
import { toHalfPrecision } from "./half-precision.ts";
import { findPeak } from "./memory-model.ts";
import { settleCasts } from "./settle-casts.ts";

const [T, D, V, R] = [7, 12, 11, 2];

/** A layer in small: embedding, norm, a product with an adapter beside it, attention over all tokens, a feed-forward, and the loss. Weights are inputs called `w…`. */
function network(builder: GraphBuilder): { readonly nll: Value; readonly adapter: Value } {
  const weight = (name: string, ...shape: number[]): Value => builder.weight(name, "float32", shape);
  const ids = builder.input("ids", "int32", [1, T]);
  const adapter = builder.input("adapter", "float32", [1, 2 * R * D]);
  const [a = adapter, b = adapter] = g.split(adapter, 1, [R * D, R * D]);
  const embedded = g.gather(weight("embedding", V, D), ids); // [1, T, D]
  const normed = g.rmsNorm(embedded, g.add(weight("norm", D), 1), 1e-5);
  const low = g.matMul(g.matMul(normed, g.reshape(a, [1, R, D]), { transB: true }), g.reshape(b, [1, D, R]), { transB: true });
  const q = g.add(g.matMul(normed, weight("q", D, D), { transB: true }), g.mul(low, 0.5));
  const places = builder.constant(tensor("int32", [T], Int32Array.from({ length: T }, (_, i) => i)));
  const mask = g.where(g.lessOrEqual(places, g.reshape(places, [T, 1])), builder.scalar(0), builder.scalar(-1e30)); // [T, T]
  const seen = g.softmaxProduct(g.add(g.matMul(q, normed, { transB: true, alpha: 0.3 }), mask), normed);
  const hidden = g.add(embedded, g.matMul(g.silu(seen), weight("up", D, D)));
  return { nll: g.linearCrossEntropy(hidden, weight("head", V, D), builder.input("targets", "int32", [1, T]), { chunks: 2, minimumRows: 2 }), adapter };
}

const SIZES = new Map<string, number>();

/** The network with its gradient, in half precision where a dtype is given; `settled`: with casts settled. */
function training(dtype: HalfDType | undefined, settled = true): Graph {
  const forward = new GraphBuilder();
  const net = network(forward);
  forward.output("nll", net.nll);
  const mixed = dtype === undefined ? { builder: forward, value: (id: number) => forward.valueOf(id) } : toHalfPrecision(forward.finish(), { dtype, isHalfWeight: () => true });
  const { builder } = mixed;
  const [nll, adapter] = [mixed.value(net.nll.id), mixed.value(net.adapter.id)];
  const seed = builder.input("seed", "float32", nll.shape);
  const slope = must(gradient(builder, { value: nll, seed }, [adapter])[0], "gradient");
  if (dtype !== undefined) builder.output("nll", nll);
  builder.output("slope", slope);
  const graph = builder.finish();
  return dtype !== undefined && settled ? settleCasts(graph, seed.id) : graph;
}

/** Values for every input and weight; those of weights as half precision holds them. */
function feedsOf(graph: Graph) {
  const typeOf = (id: number) => must(graph.values[id], "value");
  const draws = (name: string, shape: readonly number[]): Float32Array => Float32Array.from(normals(randomKey(3, name), [], elementCount(shape)), (x) => 0.4 * x);
  const whole = { ids: [3, 0, 10, 7, 7, 1, 4], targets: [5, 2, 2, 9, 0, 10, 1] };
  const inputs = graph.inputs.map(({ name, id }) => {
    const shape = typeOf(id).shape.map(Number);
    if (name === "ids" || name === "targets") return [name, tensor("int32", shape, Int32Array.from(whole[name]))] as const;
    return [name, tensor("float32", shape, name === "seed" ? new Float32Array(T).fill(1) : draws(name, shape))] as const;
  });
  const weights = graph.weights.map(({ name, id }) => [name, { dtype: typeOf(id).dtype, shape: typeOf(id).shape.map(Number), data: Float64Array.from(draws(name, typeOf(id).shape.map(Number))) }] as const);
  return new Map([...inputs.map(([name, t]) => [name, toReference(t)] as const), ...weights]);
}

/** The dtypes that nodes of an op give, in the graph's order. */
const dtypesOf = (graph: Graph, op: OpName): readonly (DType | undefined)[] => graph.nodes.filter((node) => node.op === op).map((node) => graph.values[node.outputs[0] ?? -1]?.dtype);

describe.each(HALF_DTYPES)("in %s", (dtype) => {
  test("weights are half-size; products with the base run in it, those with the adapter, norms, softmax, loss and the result in float32", () => {
    const forward = new GraphBuilder();
    const net = network(forward);
    forward.output("nll", net.nll);
    const mixed = toHalfPrecision(forward.finish(), { dtype, isHalfWeight: (name) => name !== "up" });
    mixed.builder.output("nll", mixed.value(net.nll.id));
    const graph = mixed.builder.finish();
    verifyGraph(graph);
    expect(Object.fromEntries(graph.weights.map(({ name, id }) => [name, graph.values[id]?.dtype]))).toEqual({ embedding: dtype, norm: dtype, q: dtype, up: "float32", head: dtype });
    // The adapter's two, then q and scores; the weight that stays float32 takes its product along.
    expect(dtypesOf(graph, "MatMul")).toEqual(["float32", "float32", dtype, dtype, "float32"]);
    for (const op of ["RmsNorm", "LinearCrossEntropy"] as const) expect(dtypesOf(graph, op)).toEqual(["float32"]);
    // Scores stay exact up to the softmax; what it weighs, and its weights, are in half precision.
    const mixture = must(graph.nodes.find(({ op }) => op === "SoftmaxProduct"), "SoftmaxProduct");
    expect([...mixture.inputs, ...mixture.outputs].map((id) => graph.values[id]?.dtype)).toEqual(["float32", dtype, dtype, dtype]);
    // 1 + w of the norm and the mask's sum are exact; what joins an adapter and the residual is not.
    expect(dtypesOf(graph, "Add")).toEqual(["float32", dtype, "float32", dtype]);
    expect(graph.values[must(graph.outputs[0], "output").id]?.dtype).toBe("float32");
  });

  test("loss and gradient are float32's but for rounding, and are rounded", () => {
    const values = feedsOf(training(undefined));
    const exact = evaluateReference(training(undefined), values);
    const mixed = evaluateReference(training(dtype), values);
    const [loss, slope] = ["nll", "slope"].map((name) => relativeError(must(mixed.get(name), name).data, must(exact.get(name), name).data));
    const unit = dtype === "float16" ? 2 ** -11 : 2 ** -8;
    expect(loss).toBeLessThan(4 * unit);
    expect(slope).toBeLessThan(16 * unit);
    expect(Math.min(loss ?? 0, slope ?? 0)).toBeGreaterThan(unit / 100);
  });

  test("settling casts changes the gradient by no more than rounding, and lowers the memory that values take", () => {
    const [plain, settled] = [training(dtype, false), training(dtype)];
    verifyGraph(settled);
    const values = feedsOf(plain);
    const [a, b] = [plain, settled].map((graph) => must(evaluateReference(graph, values).get("slope"), "slope").data);
    expect(relativeError(b ?? [], Array.from(a ?? []))).toBeLessThan(8 * (dtype === "float16" ? 2 ** -11 : 2 ** -8));
    expect(findPeak(settled, SIZES).bytes).toBeLessThan(findPeak(plain, SIZES).bytes);
  });

  test("the backward pass reads no float32 copy of an activation that the forward pass has in half precision", () => {
    const graph = training(dtype);
    const boundary = must(graph.inputs.find(({ name }) => name === "seed"), "seed").id;
    const copied = new Set(graph.nodes.flatMap(({ op, inputs: [input = 0], outputs: [output = 0] }) => {
      if (op !== "Cast" || output >= boundary) return [];
      const narrows = graph.values[output]?.dtype === dtype;
      const fed = graph.inputs.some(({ id }) => id === input);
      return fed ? [] : [narrows ? input : output];
    }));
    expect(copied.size).toBeGreaterThan(3);
    const read = graph.nodes.filter(({ outputs: [first = 0] }) => first >= boundary).flatMap(({ inputs }) => inputs.filter((id) => copied.has(id)));
    expect(read).toEqual([]);
  });

  test("onnxruntime on the CPU rounds as the reference does", async () => {
    const forward = new GraphBuilder();
    const x = forward.input("x", "float32", [1, 5]);
    const half = g.cast(x, dtype);
    // 1 + x − 1 leaves of x what half precision holds of it beside 1; onnxruntime by itself would leave x as it was.
    forward.output("y", g.cast(g.sub(g.add(half, 1), 1), "float32"));
    using session = await openSession(forward.finish(), { threads: 1 });
    const { y } = await session.run({ x: tensor("float32", [1, 5], Float32Array.of(0.0003001, 0.013, -0.2, 0.7001, 3.3)) });
    const expected = evaluateReference(forward.finish(), new Map([["x", toReference(tensor("float32", [1, 5], Float32Array.of(0.0003001, 0.013, -0.2, 0.7001, 3.3)))]]));
    expect([...must(y, "y").data]).toEqual([...must(expected.get("y"), "y").data]);
    expect(must(y, "y").data[0]).toBe(0);
  });
});

test("a constant that float16 cannot hold keeps what it meets in float32, one that it can joins it", () => {
  const forward = new GraphBuilder();
  const table = forward.weight("table", "float32", [5, 3]);
  const x = g.gather(table, forward.input("ids", "int32", [2]));
  forward.output("big", g.min(x, 1e6));
  forward.output("small", g.min(x, 3.5));
  const graph = forward.finish();
  const mixed = toHalfPrecision(graph, { dtype: "float16", isHalfWeight: () => true });
  for (const { name, id } of graph.outputs) mixed.builder.output(name, mixed.value(id));
  expect(dtypesOf(mixed.builder.finish(), "Min")).toEqual(["float32", "float16"]);
  const constant = must(mixed.builder.finish().constants.find(({ tensor: t }) => t.dtype === "float16"), "constant").tensor;
  expect([...widen(constant.data as Uint16Array, "float16")]).toEqual([3.5]);
});
