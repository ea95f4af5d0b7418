/** An adapter method against its equations: what it makes of one module's output, and its gradient in float64 beside central differences. */
import { must } from "../../src/core/base/errors.ts";
import { normals, randomKey } from "../../src/core/base/random.ts";
import { elementCount, tensor, type NamedTensors } from "../../src/core/base/tensor.ts";
import { GraphBuilder } from "../../src/engine/graph/builder.ts";
import * as g from "../../src/engine/graph/operations.ts";
import type { ReferenceTensor } from "../../src/engine/graph/ops/record.ts";
import type { Value } from "../../src/engine/graph/value.ts";
import { evaluateReference, toReference } from "../../src/engine/runtime/reference.ts";
import type { AdapterTensors, BoundAdapter } from "../../src/llm/adapters/adapter.ts";
import { initialTensors } from "../../src/llm/adapters/all.ts";
import type { ArchitectureModel } from "../../src/llm/architectures/architecture.ts";
import { packExamples } from "../../src/llm/data/pack.ts";
import { stackClients } from "../../src/llm/data/stack.ts";
import { batchFeeds } from "../../src/llm/training/batch-feeds.ts";
import { flatSize, flatten, unflatten } from "../../src/llm/training/flat.ts";
import { frozenInput, trainGraph } from "../../src/llm/training/graphs.ts";
import { centralDifferences, relativeError } from "./numbers.ts";
import { openTiny, referenceWeights, type ModelConfig } from "./tiny-models.ts";
import { NO_SOURCES, randomAdapter, randomDataset } from "./tiny-training.ts";

const random = (seed: number, purpose: string, count: number): Float64Array => normals(randomKey(seed, purpose), [], count);

/** Random tensors of each client, by name. */
export type ClientTensors = readonly NamedTensors<"float32">[];

interface Inputs {
  readonly builder: GraphBuilder;
  readonly feeds: Map<string, ReferenceTensor>;
  readonly tensors: AdapterTensors;
}

/** An adapter's tensors as inputs of a graph, without dropout. */
function inputsOf(adapter: BoundAdapter, clients: ClientTensors): Inputs {
  const builder = new GraphBuilder();
  const feeds = new Map<string, ReferenceTensor>();
  const feed = (name: string, shape: readonly number[], data: Float64Array): Value => {
    feeds.set(name, { dtype: "float32", shape, data });
    return builder.input(name, "float32", shape);
  };
  const joined = (name: string): Float64Array => Float64Array.from(clients.flatMap((tensors) => [...must(tensors.get(name), name).data]));
  const parameters = new Map(adapter.parameters.map(({ name, shape }) => [name, feed(name, [clients.length, ...shape], joined(name))]));
  const drawn = initialTensors(adapter.frozen, 1, NO_SOURCES);
  const frozen = new Map(adapter.frozen.map(({ name, shape }) => [name, feed(name, shape, Float64Array.from(must(drawn.get(name), name).data))]));
  return { builder, feeds, tensors: { parameter: (name) => must(parameters.get(name), name), frozen: (name) => must(frozen.get(name), name), dropout: (_path, x) => x } };
}

export interface ModuleOutput {
  readonly clients: ClientTensors;
  /** `[C, N, in]`, `[C, N, out]` and, by the adapter, `[C, N, out]`. */
  readonly x: Float64Array;
  readonly product: Float64Array;
  readonly y: Float64Array | undefined;
}

/** What an adapter makes of a module's output, for two clients with tensors of their own and three rows each. */
export function moduleOutput(adapter: BoundAdapter, model: ArchitectureModel, path: string): ModuleOutput {
  const { inFeatures, outFeatures } = must(model.linears.find((l) => l.path === path), path);
  const clients = [randomAdapter(adapter.parameters, 4), randomAdapter(adapter.parameters, 5)];
  const { builder, feeds, tensors } = inputsOf(adapter, clients);
  const input = (name: string, width: number): Value => {
    feeds.set(name, { dtype: "float32", shape: [2, 3, width], data: random(6, name, 6 * width) });
    return builder.input(name, "float32", [2, 3, width]);
  };
  const site = { path, input: input("x", inFeatures), product: input("product", outFeatures), project: (x: Value): Value => x };
  const output = adapter.attach(tensors).linearOutput?.(site);
  const [x, product] = [must(feeds.get("x"), "x").data, must(feeds.get("product"), "product").data];
  if (output === undefined) return { clients, x, product, y: undefined };
  builder.output("y", output);
  return { clients, x, product, y: must(evaluateReference(builder.finish(), feeds).get("y"), "y").data };
}

/** The penalty of each of two clients with tensors of their own. */
export function penalties(adapter: BoundAdapter): { readonly clients: ClientTensors; readonly values: Float64Array } {
  const clients = [randomAdapter(adapter.parameters, 4), randomAdapter(adapter.parameters, 5)];
  const { builder, feeds, tensors } = inputsOf(adapter, clients);
  builder.output("penalty", g.mul(must(adapter.penalty?.(tensors), "a penalty"), 1));
  return { clients, values: must(evaluateReference(builder.finish(), feeds).get("penalty"), "penalty").data };
}

export interface GradientCheck {
  /** Largest error of each tensor's gradient against central differences, and whether the gradient is not all but 0. */
  readonly errors: Readonly<Record<string, number>>;
  readonly alive: boolean;
}

/** The gradient of Σ w · nll + Σ w · penalty of a whole model in float64, against central differences. */
export function checkGradient(config: ModelConfig, adapter: BoundAdapter, penalty: (parameters: NamedTensors<"float32">) => number = () => 0): GradientCheck {
  const model = openTiny(config);
  const { graph } = trainGraph({ model, adapter }, { clients: 1, maxLabelledRows: 24 });
  const batch = stackClients([packExamples(randomDataset([5, 4, 3], model.vocabSize), [0, 1, 2], { width: 9 })]);
  const flat = tensor("float32", [1, flatSize(adapter.parameters)], new Float32Array(flatSize(adapter.parameters)));
  flatten(randomAdapter(adapter.parameters), adapter.parameters, flat.data);
  const parameters = toReference(flat);
  const weights = Float32Array.from(batch.weights, (w, i) => w * (0.5 + i / 3));
  const feeds = new Map<string, ReferenceTensor>([
    ...referenceWeights(config),
    ...Object.entries(batchFeeds(batch)).map(([name, t]): [string, ReferenceTensor] => [name, toReference(t)]),
    ...[...initialTensors(adapter.frozen, 1, NO_SOURCES)].map(([name, t]): [string, ReferenceTensor] => [frozenInput(name), toReference(t)]),
    ["weights", toReference(tensor("float32", [1, weights.length], weights))],
    ["parameters", parameters],
    ["accumulated", { ...parameters, data: new Float64Array(parameters.data.length) }],
  ]);
  const value = must(evaluateReference(graph, feeds).get("accumulated_out"), "gradient").data;
  const total = weights.reduce((sum, w) => sum + w, 0);
  /** Named tensors in doubles, though typed as float32: for the penalty's own formula. */
  const inDoubles = (): NamedTensors<"float32"> => {
    let at = 0;
    return new Map(adapter.parameters.map(({ name, shape }) => {
      at += elementCount(shape);
      // The penalty only reads numbers; float32 would swallow the small steps of central differences.
      return [name, { dtype: "float32", shape, data: parameters.data.slice(at - elementCount(shape), at) as unknown as Float32Array }];
    }));
  };
  const loss = (): number => must(evaluateReference(graph, feeds).get("nll"), "nll").data.reduce((sum, x, i) => sum + x * (weights[i] ?? 0), 0) + total * penalty(inDoubles());
  const expected = unflatten(Float32Array.from(centralDifferences(loss, parameters.data, 1e-5)), adapter.parameters);
  const actual = unflatten(Float32Array.from(value), adapter.parameters);
  const errors = Object.fromEntries([...expected].map(([name, { data }]) => [name, relativeError(must(actual.get(name), name).data, data)]));
  return { errors, alive: [...expected.values()].every(({ data }) => data.some((x) => Math.abs(x) > 1e-3)) };
}
