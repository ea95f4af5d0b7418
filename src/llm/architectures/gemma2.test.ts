import { describe, expect, test } from "vitest";
import { centralDifferences, relativeError } from "../../../test/support/numbers.ts";
import { openTiny, referenceWeights, TINY_CONFIGS, type ModelConfig } from "../../../test/support/tiny-models.ts";
import { randomAdapter, randomDataset } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import { GraphBuilder } from "../../engine/graph/builder.ts";
import * as g from "../../engine/graph/operations.ts";
import type { ReferenceTensor } from "../../engine/graph/ops/record.ts";
import { hashGraph } from "../../engine/graph/print.ts";
import { evaluateReference, toReference } from "../../engine/runtime/reference.ts";
import { lora } from "../adapters/lora.ts";
import { bindAdapter } from "../adapters/all.ts";
import { packExamples } from "../data/pack.ts";
import { stackClients } from "../data/stack.ts";
import type { EncodedDataset } from "../data/types.ts";
import { batchFeeds } from "../training/batch-feeds.ts";
import { flatSize, flatten } from "../training/flat.ts";
import { lossGraph, trainGraph } from "../training/graphs.ts";
import { packSight } from "./attention.ts";
import { ForwardPass } from "./forward-pass.ts";

/** Two layers, the first of which looks back upon 4 tokens; soft caps 1.5 and 2.5. */
const CONFIG = TINY_CONFIGS.gemma2;
const OPTIONS = { clients: 1, maxLabelledRows: 32 } as const;

test.each([
  ["attn_logit_softcapping", { attn_logit_softcapping: 0 }],
  ["final_logit_softcapping", { final_logit_softcapping: -1 }],
  ["query_pre_attn_scalar", { query_pre_attn_scalar: 0 }],
  ["hidden_activation", { hidden_activation: null }],
  ["layer_types", { layer_types: ["full_attention"] }],
  ["layer_types.1", { layer_types: ["full_attention", "chunked_attention"] }],
  ["sliding_window", { sliding_window: null }],
  ["use_bidirectional_attention", { use_bidirectional_attention: true }],
  ["rope_parameters.full_attention", { rope_parameters: { full_attention: { rope_type: "default" } } }],
])("a config is refused by its %s", (field, change) => {
  expect(() => openTiny({ ...CONFIG, ...change })).toThrow(`tiny model: ${field}: expected`);
});

function feedsOf(config: ModelConfig, data: EncodedDataset, examples: readonly number[], width: number): Map<string, ReferenceTensor> {
  const feeds = batchFeeds(stackClients([packExamples(data, examples, { width })]));
  return new Map([...referenceWeights(config), ...Object.entries(feeds).map(([name, t]): [string, ReferenceTensor] => [name, toReference(t)])]);
}

/** Losses of the labelled rows of examples that lie in one row, in float64. */
function losses(config: ModelConfig, data: EncodedDataset, examples: readonly number[]): readonly number[] {
  const graph = lossGraph({ model: openTiny(config), adapter: undefined }, OPTIONS);
  return [...must(evaluateReference(graph, feedsOf(config, data, examples, 64)).get("nll"), "nll").data];
}

test("a config without layer_types has every other layer look back through a window, the first one does", () => {
  const graphOf = (change: ModelConfig): string => hashGraph(lossGraph({ model: openTiny({ ...CONFIG, num_hidden_layers: 3, ...change }), adapter: undefined }, OPTIONS));
  expect(graphOf({})).toBe(graphOf({ layer_types: ["sliding_attention", "full_attention", "sliding_attention"] }));
  expect(graphOf({})).not.toBe(graphOf({ layer_types: ["full_attention", "sliding_attention", "full_attention"] }));
});

describe("windows in turns", () => {
  const data = randomDataset([5, 11, 7], CONFIG.vocab_size);
  test.each([["as by default", {}], ["as layer_types says", { layer_types: ["full_attention", "sliding_attention"] }]])("end where examples of a pack end: %s", (_, change) => {
    const config = { ...CONFIG, ...change };
    const apart = [0, 1, 2].flatMap((i) => losses(config, data, [i])).sort((a, b) => a - b);
    expect(relativeError(losses(config, data, [0, 1, 2]).toSorted((a, b) => a - b), apart)).toBeLessThan(1e-12);
  });

  test("reach over as many tokens as sliding_window says, in the layers that have one", () => {
    const [at, length] = [3, 12];
    const [one, other] = [randomDataset([length], CONFIG.vocab_size), randomDataset([length], CONFIG.vocab_size)];
    for (const { labels } of [one, other]) labels.set(one.ids);
    other.ids[at] = ((one.ids[at] ?? 0) + 1) % CONFIG.vocab_size;
    const touched = (layer_types: readonly string[]): readonly number[] => {
      const config = { ...CONFIG, num_hidden_layers: layer_types.length, layer_types };
      const after = losses(config, other, [0]);
      return losses(config, one, [0]).flatMap((x, row) => (x === after[row] ? [] : [row]));
    };
    const rows = (last: number): number[] => Array.from({ length: last + 1 - at }, (_, i) => at + i);
    expect(touched(["sliding_attention"])).toEqual(rows(at + 3));
    expect(touched(["sliding_attention", "sliding_attention"])).toEqual(rows(at + 6));
    expect(touched(["full_attention"])).toEqual(rows(length - 2));
  });
});

test.each([2.5, null])("the loss is that of logits that are capped by the plain formula: %s", (cap) => {
  const config = { ...CONFIG, final_logit_softcapping: cap };
  const [model, data] = [openTiny(config), randomDataset([9], config.vocab_size)];
  data.labels.set(data.ids);
  const builder = new GraphBuilder();
  const [ids, positions, segments] = ["ids", "positions", "segments"].map((name) => builder.input(name, "int32", [1, 1, 9]));
  const sight = packSight(g.reshape(must(segments, "segments"), [1, 9]), g.reshape(must(positions, "positions"), [1, 9]));
  const pass = new ForwardPass(builder, model, { ids: must(ids, "ids"), positions: must(positions, "positions"), sight }, {});
  builder.output("products", g.matMul(model.forward(pass), pass.weight("lm_head.weight"), { transB: true })); // [1, 9, V]
  const products = must(evaluateReference(builder.finish(), feedsOf(config, data, [0], 9)).get("products"), "products").data;
  const expected = Array.from(data.ids.subarray(1), (target, row) => {
    const logits = [...products.subarray(row * model.vocabSize, (row + 1) * model.vocabSize)].map((x) => (cap === null ? x : cap * Math.tanh(x / cap)));
    return Math.log(logits.reduce((sum, x) => sum + Math.exp(x), 0)) - (logits[target] ?? Number.NaN);
  });
  expect(relativeError(losses(config, data, [0]), expected)).toBeLessThan(1e-12);
  expect(products.some((x) => Math.abs(x) > 2.5)).toBe(true);
});

test("the gradient under soft caps and windows is that of central differences in float64", () => {
  const config = { ...CONFIG, vocab_size: 11, hidden_size: 8, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 4, sliding_window: 2 };
  const model = openTiny(config);
  const adapter = bindAdapter(lora.schema.parse({ method: "lora", r: 1, target_modules: ["k_proj", "down_proj"] }), model);
  const flat = tensor("float32", [1, flatSize(adapter.parameters)], new Float32Array(flatSize(adapter.parameters)));
  flatten(randomAdapter(adapter.parameters), adapter.parameters, flat.data);
  const parameters = toReference(flat);
  const data = randomDataset([5, 4], config.vocab_size);
  const feeds = new Map([...feedsOf(config, data, [0, 1], 9), ["parameters", parameters], ["accumulated", { ...parameters, data: new Float64Array(parameters.data.length) }]] as const);
  const { graph } = trainGraph({ model, adapter }, OPTIONS);
  const loss = (): number => must(evaluateReference(graph, feeds).get("nll"), "nll").data.reduce((sum, x) => sum + x, 0);
  const gradient = must(evaluateReference(graph, feeds).get("accumulated_out"), "gradient").data;
  const expected = centralDifferences(loss, parameters.data, 1e-5);
  expect(relativeError(gradient, expected)).toBeLessThan(1e-6);
  expect(expected.filter((x) => Math.abs(x) > 1e-3).length).toBeGreaterThan(expected.length / 2);
});
