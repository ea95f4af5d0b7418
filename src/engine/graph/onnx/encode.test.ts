import { fromBinary } from "@bufbuild/protobuf";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { relativeError } from "../../../../test/support/numbers.ts";
import { drawRows, drawTensor } from "../../../../test/support/tensors.ts";
import { must } from "../../../core/base/errors.ts";
import { readSafetensorsHeader } from "../../../core/formats/safetensors.ts";
import { writeSafetensors } from "../../../core/formats/safetensors-writer.ts";
import { openSession } from "../../runtime/onnx-session.ts";
import { evaluateReference, toReference } from "../../runtime/reference.ts";
import { GraphBuilder } from "../builder.ts";
import { add, isFinite, linearCrossEntropy, matMul, mul, quantizedMatMul, reshape, scatterRows, sin, where } from "../operations.ts";
import type { Graph } from "../types.ts";
import { encodeOnnx, type EncodeOptions } from "./encode.ts";
import { ModelProtoSchema } from "./onnx_pb.js";

const NOWHERE = (name: string): never => {
  throw new Error(`no weight ${name}`);
};
const decode = (graph: Graph) => must(fromBinary(ModelProtoSchema, encodeOnnx(graph, NOWHERE)).graph, "graph");

describe("8-bit products one after another", () => {
  const graph = (): Graph => {
    const builder = new GraphBuilder();
    const weight = (name: string) => [{ weight: builder.input(name, "int8", [8, 8]) }, { weight: builder.input(`${name} transposed`, "int8", [8, 8]) }] as const;
    const hidden = quantizedMatMul(builder.input("x", "float32", ["B", "T", 8]), ...weight("w1"));
    builder.output("y", quantizedMatMul(hidden, ...weight("w2")));
    return builder.finish();
  };

  test("share the zero points of their rows", () => {
    expect(decode(graph()).node.filter(({ opType }) => opType === "Expand")).toHaveLength(1);
  });

  test("say the shapes that onnxruntime cannot tell: of every Reshape and Expand", () => {
    const { node, valueInfo, output } = decode(graph());
    const known = new Set([...valueInfo, ...output].map(({ name }) => name));
    const made = node.filter(({ opType }) => opType === "Reshape" || opType === "Expand").flatMap((n) => n.output);
    expect(made).toHaveLength(7);
    expect(made.filter((name) => !known.has(name))).toEqual([]);
  });
});

test("8-bit products of one input round its rows once, and make no node that nothing reads", () => {
  const builder = new GraphBuilder();
  const weight = (name: string) => [{ weight: builder.input(name, "int8", [8, 8]) }, { weight: builder.input(`${name} transposed`, "int8", [8, 8]) }] as const;
  const x = builder.input("x", "float32", ["B", "T", 8]);
  builder.output("y", add(quantizedMatMul(x, ...weight("w1")), quantizedMatMul(x, ...weight("w2"))));
  const { node, output } = decode(builder.finish());
  expect(node.filter(({ opType }) => opType === "QuantizeLinear")).toHaveLength(1);
  const read = new Set([...node.flatMap((n) => n.input), ...output.map(({ name }) => name)]);
  expect(node.flatMap((n) => n.output).filter((name) => !read.has(name))).toEqual([]);
});

describe("a graph of very many nodes", () => {
  const chain = (nodes: number): Graph => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", ["T", 3]);
    let y = x;
    for (let i = 0; i < nodes; i++) y = add(y, x);
    builder.output("y", y);
    return builder.finish();
  };
  const shapesOf = (graph: Graph, options: EncodeOptions): number => {
    const { input, output, valueInfo } = must(fromBinary(ModelProtoSchema, encodeOnnx(graph, NOWHERE, options)).graph, "graph");
    return [...input, ...output, ...valueInfo].filter(({ type }) => type?.value.case === "tensorType" && type.value.value.shape !== undefined).length;
  };

  test("says no shapes where memory is to be saved, and only there", () => {
    const [many, few] = [chain(9000), chain(100)];
    expect([shapesOf(many, { saves: "memory" }), shapesOf(many, { saves: "time" }), shapesOf(many, { saves: "memory", device: "webgpu" }), shapesOf(few, { saves: "memory" })]).toEqual([0, 9002, 9002, 102]);
  });

  test("runs without them", async () => {
    const session = await InferenceSession.create(encodeOnnx(chain(9000), NOWHERE, { saves: "memory" }));
    const { y } = await session.run({ x: new OrtTensor("float32", Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]) });
    expect([y?.dims, [...(y?.data ?? [])]]).toEqual([[2, 3], [9001, 18_002, 27_003, 36_004, 45_005, 54_006]]);
    await session.release();
  });
});

describe("weights of an encoded graph", () => {
  let path = "";
  beforeAll(() => {
    path = join(mkdtempSync(join(tmpdir(), "fedtune-encode-")), "model.safetensors");
    writeSafetensors(path, new Map([["odd", drawTensor("odd", [7])], ["w1", drawTensor("w1", [5, 300])], ["w2", drawTensor("w2", [300, 7])]]));
  });
  afterAll(() => rmSync(dirname(path), { recursive: true }));

  const locate = (name: string) => {
    const { start, end } = must(readSafetensorsHeader(path).tensors.get(name), name);
    return { file: basename(path), offset: start, length: end - start };
  };
  const graph = (): Graph => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", ["T", 5]);
    const hidden = matMul(x, builder.weight("w1", "float32", [5, 300]));
    builder.output("y", add(matMul(hidden, builder.weight("w2", "float32", [300, 7])), builder.weight("odd", "float32", [7])));
    return builder.finish();
  };

  test("stay in their safetensors file and are read from there", async () => {
    const x = drawTensor("x", [3, 5]);
    using session = await openSession(graph(), { threads: 1, weights: { folder: dirname(path), locate } });
    const { y } = await session.run({ x });
    const feeds = Object.entries({ x, w1: drawTensor("w1", [5, 300]), w2: drawTensor("w2", [300, 7]), odd: drawTensor("odd", [7]) });
    const expected = evaluateReference(graph(), new Map(feeds.map(([name, t]) => [name, toReference(t)]))).get("y");
    expect(relativeError(must(y, "y").data, must(expected, "y").data)).toBeLessThan(1e-5);
  });

  test("are references to a place in the file, with no bytes of their own", () => {
    const bytes = encodeOnnx(graph(), locate);
    expect(bytes.byteLength).toBeLessThan(2000); // The weights have 14,428 bytes.
    const initializers = fromBinary(ModelProtoSchema, bytes).graph?.initializer ?? [];
    const external = initializers.find((t) => t.name === "w2")?.externalData.map((e) => [e.key, e.value]);
    const { offset, length } = locate("w2");
    expect(external).toEqual([["location", "model.safetensors"], ["offset", String(offset)], ["length", String(length)]]);
  });
});

describe("symbolic dimensions of an encoded graph", () => {
  const twoUnknown = (): Graph => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", ["C", "T", 10]);
    builder.output("y", sin(reshape(x, ["T", 2, "5*C"])));
    return builder.finish();
  };

  test("are computed from the feeds where a reshape has two of them, for each run anew", async () => {
    using session = await openSession(twoUnknown(), { threads: 1 });
    for (const [c, t] of [[2, 3], [7, 1], [3, 5]] as const) {
      const x = drawTensor("x", [c, t, 10]);
      const { y } = await session.run({ x });
      expect(y?.shape).toEqual([t, 2, 5 * c]);
      expect(relativeError(must(y, "y").data, x.data.map(Math.sin))).toBeLessThan(1e-6);
    }
  });

  test("may be zero: no rows in, no rows out", async () => {
    using reshaped = await openSession(twoUnknown(), { threads: 1 });
    expect((await reshaped.run({ x: drawTensor("x", [3, 0, 10]) }))["y"]?.shape).toEqual([0, 2, 15]);

    const builder = new GraphBuilder();
    const [x, rows, targets] = [builder.input("x", "float32", ["C", "L", 5]), builder.input("rows", "int32", ["C", "L"]), builder.input("targets", "int32", ["C", "L"])];
    builder.output("loss", linearCrossEntropy(x, builder.input("w", "float32", [7, 5]), targets, { chunks: 3, minimumRows: 2 }));
    builder.output("scattered", scatterRows(x, rows, 3));
    using session = await openSession(builder.finish(), { threads: 1 });
    const { loss, scattered } = await session.run({ x: drawTensor("x", [2, 0, 5]), rows: drawRows([2, 0], 3), targets: drawRows([2, 0], 3), w: drawTensor("w", [7, 5]) });
    expect(loss?.shape).toEqual([2, 0]);
    expect(scattered?.data).toEqual(new Float32Array(30));
  });

  test("are read off an axis once, however often they are needed", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", ["C", "T", 10]);
    const turned = sin(reshape(x, ["T", "5*C", 2]));
    builder.output("y", sin(reshape(turned, ["C", 5, "2*T"])));
    builder.output("z", sin(reshape(sin(turned), ["C", 5, "2*T"])));
    expect(decode(builder.finish()).node.filter((n) => n.opType === "Shape")).toHaveLength(2);
  });

  test("are read from an axis that is a multiple of one", async () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", ["2*C", "3*T", 5]);
    builder.output("y", sin(reshape(x, [3, "C", "T", 10])));
    using session = await openSession(builder.finish(), { threads: 1 });
    const feed = drawTensor("x", [14, 6, 5]);
    const { y } = await session.run({ x: feed });
    expect(y?.shape).toEqual([3, 7, 2, 10]);
    expect(relativeError(must(y, "y").data, Float64Array.from(feed.data, Math.sin))).toBeLessThan(1e-5);
    await expect(session.run({ x: drawTensor("x", [14, 7, 5]) })).rejects.toThrow("session: dimension 3*T: expected a multiple of 3, got 7 in input x");
  });

  test("are refused by name where no value has one as an axis of its own", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", ["C*D", "T", 3]);
    builder.output("y", reshape(x, ["D", "C", "3*T"]));
    expect(() => encodeOnnx(builder.finish(), NOWHERE)).toThrow("dimension D is needed before any value has it as an axis");
  });
});

describe("an encoded graph", () => {
  test("declares the shapes of the values inside, with other symbols every 512 nodes", () => {
    const builder = new GraphBuilder();
    let x = builder.input("x", "float32", ["T", 3]);
    for (let i = 0; i < 513; i++) x = mul(x, 1.5 + i);
    builder.output("y", x);
    const declared = decode(builder.finish()).valueInfo.map(({ type }) => (type?.value.case === "tensorType" ? type.value.value.shape?.dim.map(({ value }) => value.value) : []));
    expect(declared).toHaveLength(513);
    expect([declared[0], declared[511], declared[512]]).toEqual([["T@0", 3n], ["T@0", 3n], ["T@1", 3n]]);
  });

  test("has equal bytes for equal graphs", () => {
    const build = (): Graph => {
      const builder = new GraphBuilder();
      builder.output("y", mul(sin(builder.input("x", "float32", ["T"])), 3));
      return builder.finish();
    };
    expect(encodeOnnx(build(), NOWHERE)).toEqual(encodeOnnx(build(), NOWHERE));
  });

  test("keeps its own names apart from any name of an input", async () => {
    const builder = new GraphBuilder();
    const names = ["t0", "t1", "k0", "k1", "y", ...Array.from({ length: 40 }, (_, i) => `v${i + 60}`)];
    const [first, ...others] = names.map((name) => builder.input(name, "float32", [2]));
    const sum = others.reduce((a, b) => add(a, mul(b, 3)), must(first, "first"));
    builder.output("sum", where(isFinite(sum), sum, builder.scalar(0)));
    using session = await openSession(builder.finish(), { threads: 1 });
    const feeds = Object.fromEntries(names.map((name) => [name, drawTensor(name, [2])]));
    const expected = names.map((name) => drawTensor(name, [2]).data).reduce((a, b) => a.map((x, i) => x + 3 * (b[i] ?? 0)));
    expect(relativeError(must((await session.run(feeds))["sum"], "sum").data, Float64Array.from(expected))).toBeLessThan(1e-5);
  });

  test("may give an input, a constant and one value under two names as results", async () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", [3]);
    const y = sin(x);
    for (const [name, value] of Object.entries({ same: x, constant: builder.scalar(7), left: y, right: y })) builder.output(name, value);
    using session = await openSession(builder.finish(), { threads: 1 });
    const feed = drawTensor("x", [3]);
    const { same, constant, left, right } = await session.run({ x: feed });
    expect(same?.data).toEqual(feed.data);
    expect(constant?.data).toEqual(Float32Array.of(7));
    expect(left?.data).toEqual(right?.data);
  });

  test("computes the saved slope of a loss only where something reads it", () => {
    const ops = (results: 1 | 2): ReadonlySet<string> => {
      const builder = new GraphBuilder();
      const inputs = [builder.input("x", "float32", ["C", "L", 5]), builder.input("w", "float32", [7, 5]), builder.input("targets", "int32", ["C", "L"])];
      builder.emit("LinearCrossEntropy", inputs, { chunks: 2, minimumRows: 1, softCap: 0 }).slice(0, results).forEach((y, i) => builder.output(`y${i}`, y));
      return new Set(decode(builder.finish()).node.map((n) => n.opType));
    };
    const forGradient = ["Softmax", "MatMul"];
    expect(forGradient.map((op) => [ops(1).has(op), ops(2).has(op)])).toEqual([[false, true], [false, true]]);
  });
});
