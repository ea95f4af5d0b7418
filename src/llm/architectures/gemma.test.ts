import { describe, expect, test } from "vitest";
import { openTiny, referenceWeights, TINY_CONFIGS, type ModelConfig } from "../../../test/support/tiny-models.ts";
import { must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import { GraphBuilder } from "../../engine/graph/builder.ts";
import { hashGraph } from "../../engine/graph/print.ts";
import { evaluateReference, toReference } from "../../engine/runtime/reference.ts";
import { lossGraph } from "../training/graphs.ts";
import { packSight } from "./attention.ts";
import { ForwardPass } from "./forward-pass.ts";

const CONFIG = TINY_CONFIGS.gemma;
const graphOf = (config: ModelConfig): string => hashGraph(lossGraph({ model: openTiny(config), adapter: undefined }, { clients: 1, maxLabelledRows: 24 }));

test.each([
  ["hidden_act", { hidden_act: "gelu_10" }],
  ["hidden_activation", { hidden_activation: "gelu" }],
  ["head_dim", { head_dim: null }],
  ["num_key_value_heads", { num_key_value_heads: null }],
  ["use_bidirectional_attention", { use_bidirectional_attention: true }],
  ["rope_scaling", { rope_scaling: { rope_type: "dynamic", factor: 2 } }],
  ["rope_parameters.full_attention", { rope_parameters: { full_attention: { rope_type: "default" } } }],
  ["partial_rotary_factor", { partial_rotary_factor: 0.5, head_dim: 8 }],
])("a config is refused by its %s", (field, change) => {
  expect(() => openTiny({ ...CONFIG, ...change })).toThrow(`tiny model: ${field}: expected`);
});

describe("a config of gemma", () => {
  test("of the first releases, which say gelu, means its tanh approximation", () => {
    expect(graphOf({ ...CONFIG, hidden_act: "gelu", hidden_activation: null })).toBe(graphOf(CONFIG));
    expect(graphOf({ ...CONFIG, hidden_act: "gelu", hidden_activation: "gelu_pytorch_tanh", rope_scaling: null })).toBe(graphOf(CONFIG));
    expect(graphOf({ ...CONFIG, hidden_act: "silu" })).not.toBe(graphOf(CONFIG));
  });

  test("that leaves fields out has heads of 256 elements, a tied output embedding and the sizes of the 7B model", () => {
    const model = openTiny({ model_type: "gemma" });
    expect([model.headWidth, model.heads, model.keyValueHeads, model.hiddenSize, model.layers, model.vocabSize]).toEqual([256, 16, 16, 3072, 28, 256_000]);
    expect(model.tied).toEqual(new Map([["lm_head.weight", "model.embed_tokens.weight"]]));
  });
});

test("embeddings of tokens are multiplied by the root of the width, those of virtual tokens are not", () => {
  const model = openTiny(CONFIG);
  const [v, d] = [model.vocabSize, model.hiddenSize];
  const builder = new GraphBuilder();
  const ids = builder.input("ids", "int32", [1, 1, 4]);
  const positions = builder.input("positions", "int32", [1, 1, 4]);
  const virtual = builder.input("virtual", "float32", [1, 2, d]);
  const sight = packSight(builder.constant(tensor("int32", [1, 4], new Int32Array(4))), builder.constant(tensor("int32", [1, 4], new Int32Array(4))));
  builder.output("embeddings", new ForwardPass(builder, model, { ids, positions, sight }, { virtualEmbeddings: () => virtual }).embed("model.embed_tokens"));
  const weights = new Map(referenceWeights(CONFIG));
  const prompt = Float32Array.from({ length: 2 * d }, (_, i) => Math.fround(0.3 + i / 7));
  const feeds = new Map([...weights, ["ids", toReference(tensor("int32", [1, 1, 4], Int32Array.of(v + 1, v, 5, 3)))], ["positions", toReference(tensor("int32", [1, 1, 4], new Int32Array(4)))], ["virtual", toReference(tensor("float32", [1, 2, d], prompt))]] as const);
  const table = must(weights.get(model.embedding), "table").data;
  const tokens = [5, 3].flatMap((id) => [...table.subarray(id * d, (id + 1) * d)].map((x) => x * Math.fround(Math.sqrt(d))));
  expect([...must(evaluateReference(builder.finish(), feeds).get("embeddings"), "embeddings").data]).toEqual([...prompt.subarray(d), ...prompt.subarray(0, d), ...tokens]);
});
