/** A case of an op as a graph: its value alone, or a loss over it with the gradients of everything that learns. */
import { must } from "../../src/core/base/errors.ts";
import { normals, randomKey, uniforms } from "../../src/core/base/random.ts";
import { elementCount, isHalf, tensor, type ComputeDType, type Tensor } from "../../src/core/base/tensor.ts";
import { GraphBuilder } from "../../src/engine/graph/builder.ts";
import { bindDim } from "../../src/engine/graph/dims.ts";
import type { OpName } from "../../src/engine/graph/op-attributes.ts";
import { add, cast, mul, reduceSum, reshape } from "../../src/engine/graph/operations.ts";
import type { Graph } from "../../src/engine/graph/types.ts";
import type { Value } from "../../src/engine/graph/value.ts";
import { gradient } from "../../src/engine/passes/gradient.ts";
import type { CaseInput, OpCase } from "./op-cases.ts";

/** Feeds by name: `x0`, `x1`, … of the op, `seed0`, … of the loss. */
export type Feeds = Readonly<Record<string, Tensor>>;

function fill({ dtype, fill: how }: CaseInput, shape: readonly number[], purpose: string): Tensor {
  const n = elementCount(shape);
  const key = randomKey(7, purpose);
  const values = how === "normal" ? normals(key, [], n) : how === "positive" ? normals(key, [], n).map((x) => 0.5 + Math.abs(x)) : how === "truth" ? uniforms(key, [], n).map(Math.round) : how;
  if (dtype === "bool") return tensor("bool", shape, Uint8Array.from(values));
  if (dtype === "uint8") return tensor("uint8", shape, Uint8Array.from(values));
  if (dtype === "int8") return tensor("int8", shape, Int8Array.from(values));
  if (dtype === "int32") return tensor("int32", shape, Int32Array.from(values));
  return tensor("float32", shape, Float32Array.from(values));
}

function concrete(shape: CaseInput["shape"], { symbols = {} }: OpCase): number[] {
  return shape.map((dim) => bindDim(dim, new Map(Object.entries(symbols))));
}

/** An op's operand: real ones in `dtype`. */
const operand = (x: Value, dtype: ComputeDType): Value => (x.dtype === "float32" ? cast(x, dtype) : x);
const result = (y: Value): Value => (isHalf(y.dtype) ? cast(y, "float32") : y);

/** The op's graph with outputs `y0`, `y1`, … (the first `outputs` of them; default all), and its feeds. The op runs in `dtype`; what is fed and given is float32. */
export function valueGraph(op: OpName, example: OpCase, { outputs = Infinity, dtype = "float32" }: { readonly outputs?: number; readonly dtype?: ComputeDType } = {}): { readonly graph: Graph; readonly feeds: Feeds } {
  const builder = new GraphBuilder();
  const inputs = example.inputs.map((input, i) => operand(builder.input(`x${i}`, input.dtype, input.shape), dtype));
  builder.emit(op, inputs, example.attributes).slice(0, outputs).forEach((y, i) => builder.output(`y${i}`, result(y)));
  const feeds = Object.fromEntries(example.inputs.map((input, i) => [`x${i}`, fill(input, concrete(input.shape, example), `${op} x${i}`)]));
  return { graph: builder.finish(), feeds };
}

/** Σ over the seeded outputs of Σ seed · y as output `loss`, and `dx0`, … for the inputs that learn; and the loss alone. */
export function gradientGraph(op: OpName, example: OpCase, dtype: ComputeDType = "float32"): { readonly graph: Graph; readonly lossGraph: Graph; readonly feeds: Feeds; readonly learning: readonly string[] } {
  const builder = new GraphBuilder();
  const inputs = example.inputs.map(({ dtype, shape }, i) => builder.input(`x${i}`, dtype, shape));
  const outputs = builder.emit(op, inputs.map((x) => operand(x, dtype)), example.attributes).map(result);
  const { feeds } = valueGraph(op, example);
  const seeds: Record<string, Tensor> = {};
  const terms = (example.seeded ?? [0]).map((index) => {
    const y = must(outputs[index], `output ${index}`);
    const name = `seed${index}`;
    seeds[name] = fill({ dtype: "float32", shape: y.shape, fill: "normal", learns: false }, concrete(y.shape, example), `${op} ${name}`);
    return sumAll(mul(y, builder.input(name, "float32", y.shape)));
  });
  const loss = terms.reduce((a, b) => add(a, b));
  builder.output("loss", loss);
  const lossGraph = builder.finish();
  const learning = example.inputs.flatMap((input, i) => (input.learns ? [i] : []));
  const slopes = gradient(builder, { value: loss, seed: builder.scalar(1) }, learning.map((i) => must(inputs[i], `input ${i}`)));
  slopes.forEach((slope, i) => builder.output(`dx${learning[i]}`, must(slope, `gradient ${i}`)));
  return { graph: builder.finish(), lossGraph, feeds: { ...feeds, ...seeds }, learning: learning.map((i) => `x${i}`) };
}

/** The sum of all elements, as a scalar. */
export function sumAll(x: Value): Value {
  return reshape(x.shape.length === 0 ? x : reduceSum(x, x.shape.map((_, axis) => axis)), []);
}
