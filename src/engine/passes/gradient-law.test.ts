/** A law over random chains of ops: reverse mode equals central differences, and onnxruntime equals the reference. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { centralDifferences, relativeError } from "../../../test/support/numbers.ts";
import { sumAll } from "../../../test/support/op-graph.ts";
import { must } from "../../core/base/errors.ts";
import { normals, randomKey } from "../../core/base/random.ts";
import { tensor, type Tensor } from "../../core/base/tensor.ts";
import { GraphBuilder } from "../graph/builder.ts";
import * as g from "../graph/operations.ts";
import type { Graph } from "../graph/types.ts";
import type { Value } from "../graph/value.ts";
import { openSession } from "../runtime/onnx-session.ts";
import { evaluateReference, toReference } from "../runtime/reference.ts";
import { gradient } from "./gradient.ts";

/** Two values `[C, 3, 4]`, a matrix `[4, 4]`, a row `[4]`, row numbers `[C, 3]`, truth values `[3, 4]`. */
interface Operands {
  readonly a: Value;
  readonly b: Value;
  readonly matrix: Value;
  readonly row: Value;
  readonly rows: Value;
  readonly mask: Value;
}

/** Every step takes `[C, 3, 4]` to `[C, 3, 4]`. */
const STEPS = {
  add: ({ a, b }) => g.add(a, b),
  sub: ({ a, row }) => g.sub(row, a),
  mul: ({ a, b }) => g.mul(a, b),
  div: ({ a, b }) => g.div(a, g.add(g.mul(b, b), 1)),
  min: ({ a, b }) => g.min(a, b),
  max: ({ a, row }) => g.max(a, row),
  activations: ({ a, b }) => g.sub(g.gelu(a, "none"), g.mul(g.gelu(b, "tanh"), 0.7)),
  bounded: ({ a, b }) => g.add(g.mul(g.tanh(a), 1.5), g.erf(b)),
  layerNorm: ({ a, row }) => g.layerNorm(a, row, g.neg(row), 0.1),
  exp: ({ a }) => g.exp(g.min(a, 1.5)),
  log: ({ a }) => g.log(g.add(g.mul(a, a), 0.5)),
  sqrt: ({ a }) => g.sqrt(g.add(g.mul(a, a), 0.5)),
  wave: ({ a, b }) => g.add(g.sin(a), g.cos(b)),
  gates: ({ a, b }) => g.mul(g.silu(a), g.sigmoid(g.neg(b))),
  product: ({ a, matrix }) => g.matMul(a, matrix, { transB: true, alpha: 0.7 }),
  attention: ({ a, b }) => g.matMul(g.softmax(g.matMul(a, b, { transB: true, alpha: 0.5 })), b),
  norm: ({ a, row }) => g.rmsNorm(a, row, 0.1),
  centre: ({ a }) => g.sub(a, g.reduceMean(a, [1, 2])),
  spread: ({ a }) => g.expand(g.reduceSum(a, [2]), a.shape),
  turn: ({ a }) => g.reshape(g.transpose(a, [0, 2, 1]), a.shape),
  swap: ({ a }) => {
    const [left = a, right = a] = g.split(a, 2, [1, 3]);
    return g.concat([right, left], 2);
  },
  gather: ({ a, rows }) => g.gatherRows(a, rows),
  scatter: ({ a, rows }) => g.scatterRows(a, rows, 3),
  choose: ({ a, b, mask }) => g.where(mask, b, g.neg(a)),
} as const satisfies Record<string, (x: Operands) => Value>;

interface Step {
  readonly op: keyof typeof STEPS;
  readonly left: number;
  readonly right: number;
}

const LEARNING = ["x", "y", "matrix", "row"] as const;
// The keys of STEPS; Object.keys forgets their type.
const step = fc.record({ op: fc.constantFrom(...(Object.keys(STEPS) as Step["op"][])), left: fc.nat(9), right: fc.nat(9) });

/** The chain's loss and its gradients; each step reads any two earlier values. */
function build(steps: readonly Step[]): { readonly graph: Graph; readonly lossGraph: Graph } {
  const builder = new GraphBuilder();
  const inputs = { x: builder.input("x", "float32", ["C", 3, 4]), y: builder.input("y", "float32", ["C", 3, 4]), matrix: builder.input("matrix", "float32", [4, 4]), row: builder.input("row", "float32", [4]) };
  const rows = builder.input("rows", "int32", ["C", 3]);
  const mask = builder.input("mask", "bool", [3, 4]);
  const values = [inputs.x, inputs.y];
  for (const { op, left, right } of steps) {
    const [a = inputs.x, b = inputs.y] = [values.at(-1 - (left % 2)), values[right % values.length]];
    values.push(STEPS[op]({ a, b, matrix: inputs.matrix, row: inputs.row, rows, mask }));
  }
  const loss = sumAll(g.mul(must(values.at(-1), "last"), builder.input("seed", "float32", ["C", 3, 4])));
  builder.output("loss", loss);
  const lossGraph = builder.finish();
  const slopes = gradient(builder, { value: loss, seed: builder.scalar(1) }, LEARNING.map((name) => inputs[name]));
  slopes.forEach((slope, i) => slope !== undefined && builder.output(`d${LEARNING[i]}`, slope));
  return { graph: builder.finish(), lossGraph };
}

function draw(seed: number): Readonly<Record<string, Tensor>> {
  const real = (name: string, shape: readonly number[], n: number): Tensor => tensor("float32", shape, Float32Array.from(normals(randomKey(seed, name), [], n)));
  return {
    x: real("x", [2, 3, 4], 24), y: real("y", [2, 3, 4], 24), matrix: real("matrix", [4, 4], 16), row: real("row", [4], 4), seed: real("seed", [2, 3, 4], 24),
    rows: tensor("int32", [2, 3], Int32Array.of(2, 0, 2, 1, 1, 0)),
    mask: tensor("bool", [3, 4], Uint8Array.of(1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 0)),
  };
}

// Some seeds draw a chain whose gradient cancels to 0 (a spread, then a centre or a layer norm): rounding alone would be compared.
const SEED = 1;
const chains = fc.tuple(fc.array(step, { minLength: 3, maxLength: 6 }), fc.nat(1000));

test("gradients of random chains equal central differences", () => {
  fc.assert(fc.property(chains, ([steps, seed]) => {
    const { graph, lossGraph } = build(steps);
    const values = new Map(Object.entries(draw(seed)).map(([name, t]) => [name, toReference(t)]));
    const results = evaluateReference(graph, values);
    const loss = (): number => must(evaluateReference(lossGraph, values).get("loss"), "loss").data[0] ?? Number.NaN;
    for (const name of LEARNING) {
      const input = must(values.get(name), name).data;
      const numeric = centralDifferences(loss, input);
      // A parameter that the chain does not use has no output.
      expect(relativeError(results.get(`d${name}`)?.data ?? new Float64Array(input.length), numeric)).toBeLessThan(1e-6);
    }
  }), { numRuns: 150, seed: SEED });
});

test("onnxruntime, with all its fusions, gives the loss and gradients of random chains as the reference does", async () => {
  await fc.assert(fc.asyncProperty(chains, async ([steps, seed]) => {
    const { graph } = build(steps);
    const feeds = draw(seed);
    using session = await openSession(graph, { threads: 1 });
    const actual = await session.run(feeds);
    const expected = evaluateReference(graph, new Map(Object.entries(feeds).map(([name, t]) => [name, toReference(t)])));
    for (const [name, { data }] of expected) expect(relativeError(must(actual[name], name).data, data)).toBeLessThan(1e-4); // sums that cancel
  }), { numRuns: 100, seed: SEED });
});
