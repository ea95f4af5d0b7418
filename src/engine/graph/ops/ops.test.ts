/** Every op: onnxruntime against the float64 reference, and gradients against central differences in float64. */
import { describe, expect, test } from "vitest";
import { OP_CASES, type OpCase } from "../../../../test/support/op-cases.ts";
import { gradientGraph, valueGraph, type Feeds } from "../../../../test/support/op-graph.ts";
import { centralDifferences, relativeError } from "../../../../test/support/numbers.ts";
import { must } from "../../../core/base/errors.ts";
import { gradient } from "../../passes/gradient.ts";
import { openSession } from "../../runtime/onnx-session.ts";
import { evaluateReference, toReference } from "../../runtime/reference.ts";
import { GraphBuilder } from "../builder.ts";
import type { OpName } from "../op-attributes.ts";
import { cast } from "../operations.ts";
import type { Graph } from "../types.ts";
import { OPS } from "./all.ts";

// Object.keys forgets the key type; OP_CASES has exactly the ops as keys.
const OP_NAMES = Object.keys(OP_CASES) as OpName[];
const EVERY = OP_NAMES.flatMap((op) => OP_CASES[op].map((example: OpCase) => ({ op, example, shows: example.shows })));
const differentiable = ({ op }: { op: OpName }): boolean => typeof OPS[op].gradient === "function";
const SMOOTH = EVERY.filter((c) => differentiable(c) && c.example.inputs.some((input) => input.learns));

const references = (feeds: Feeds) => new Map(Object.entries(feeds).map(([name, t]) => [name, toReference(t)]));

/** Runs a graph by onnxruntime and in float64; the largest relative error of each output by name. */
async function compareRuntimes(graph: Graph, feeds: Feeds): Promise<Record<string, number>> {
  using session = await openSession(graph, { threads: 1 });
  const actual = await session.run(feeds);
  const expected = evaluateReference(graph, references(feeds));
  return Object.fromEntries([...expected].map(([name, { shape, data }]) => {
    const result = must(actual[name], name);
    expect({ name, shape: result.shape }).toEqual({ name, shape });
    return [name, relativeError(result.data, data)];
  }));
}

function expectAllBelow(errors: Record<string, number>, tolerance: number): void {
  expect(Object.entries(errors).filter(([, error]) => !(error < tolerance))).toEqual([]);
}

describe.each(EVERY)("$op, $shows", ({ op, example }) => {
  test("onnxruntime gives the value of the reference, in every output", async () => {
    const { graph, feeds } = valueGraph(op, example);
    expectAllBelow(await compareRuntimes(graph, feeds), example.tolerance ?? 1e-5);
  });
});

describe.each(EVERY.filter(({ op, example }) => valueGraph(op, example).graph.outputs.length > 1))("$op, $shows", ({ op, example }) => {
  test("the first output alone has the same value", async () => {
    const { graph, feeds } = valueGraph(op, example, { outputs: 1 });
    expectAllBelow(await compareRuntimes(graph, feeds), example.tolerance ?? 1e-5);
  });
});

describe.each(SMOOTH)("gradient of $op, $shows", ({ op, example }) => {
  test("the rule equals central differences", () => {
    const { graph, lossGraph, feeds, learning } = gradientGraph(op, example);
    const values = references(feeds);
    const results = evaluateReference(graph, values);
    const loss = (): number => must(evaluateReference(lossGraph, values).get("loss"), "loss").data[0] ?? Number.NaN;
    const errors = learning.map((name): [string, number] => {
      const numeric = centralDifferences(loss, must(values.get(name), name).data);
      return [name, relativeError(must(results.get(`d${name}`), name).data, numeric)];
    });
    expectAllBelow(Object.fromEntries(errors), 1e-6);
  });

  test("onnxruntime gives the gradient of the reference", async () => {
    const { graph, feeds } = gradientGraph(op, example);
    expectAllBelow(await compareRuntimes(graph, feeds), example.tolerance ?? 1e-5);
  });
});

describe.each(EVERY.filter(({ op }) => typeof OPS[op].gradient === "object"))("$op, $shows", ({ op, example }) => {
  test("its missing gradient is refused with the reason that the op states", () => {
    const rule = OPS[op].gradient;
    const reason = typeof rule === "object" ? rule.none : "";
    expect(reason.length).toBeGreaterThan(10);
    const builder = new GraphBuilder();
    const inputs = example.inputs.map(({ dtype, shape }, i) => builder.input(`x${i}`, dtype, shape));
    const [y] = builder.emit(op, inputs, example.attributes);
    const value = cast(must(y, "output"), "float32");
    expect(() => gradient(builder, { value, seed: value }, inputs)).toThrow(`${op} has no gradient: ${reason}`);
  });
});
