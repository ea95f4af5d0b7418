import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { centralDifferences, relativeError } from "../../../test/support/numbers.ts";
import { TINY_CONFIG, writeTinyLlama } from "../../../test/support/tiny-llama.ts";
import { openTiny, referenceWeights, TINY_CONFIGS } from "../../../test/support/tiny-models.ts";
import { openAdapted, randomAdapter, randomDataset, temporaryFolder, tinySetup } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { randomKey, uniforms } from "../../core/base/random.ts";
import { elementCount, tensor, type Tensor } from "../../core/base/tensor.ts";
import type { ReferenceTensor } from "../../engine/graph/ops/record.ts";
import { evaluateReference, toReference } from "../../engine/runtime/reference.ts";
import { bindAdapter } from "../adapters/all.ts";
import { adapterSchema } from "../adapters/settings.ts";
import { llama } from "../architectures/llama.ts";
import { packExamples } from "../data/pack.ts";
import { stackClients } from "../data/stack.ts";
import { batchFeeds } from "./batch-feeds.ts";
import { flatSize, flatten, unflatten } from "./flat.ts";
import { lossGraph, trainGraph } from "./graphs.ts";

const folder = join(temporaryFolder(), "model");
writeTinyLlama(folder);

const LENGTHS = [5, 9, 7, 13, 3];
const data = randomDataset(LENGTHS, TINY_CONFIG.vocab_size);

function flatOf(specs: Parameters<typeof flatten>[1], seed?: number): Tensor<"float32"> {
  const flat = tensor("float32", [1, flatSize(specs)], new Float32Array(flatSize(specs)));
  flatten(randomAdapter(specs, seed), specs, flat.data);
  return flat;
}

describe("packs", () => {
  test.each([["all-linear"], [["q_proj", "lm_head"]]])("give the summed gradients of their examples apart: LoRA on %s", async (target_modules) => {
    const opened = await openAdapted(tinySetup(folder, data, { adapter: { target_modules } }));
    using sessions = opened.sessions;
    const { session } = await sessions.train(1);
    const parameters = flatOf(opened.adapter.parameters);
    const run = async (indices: readonly number[], width: number) => {
      const pack = packExamples(data, indices, { width });
      const out = await session.run({ ...batchFeeds(stackClients([pack])), parameters, accumulated: tensor("float32", parameters.shape, new Float32Array(parameters.data.length)) });
      // Both outputs are float32 by the graph's types.
      return { rows: pack.rows, gradient: must(out["accumulated_out"], "gradient").data as Float32Array, nll: must(out["nll"], "nll").data as Float32Array };
    };
    const one = await run([3, 1, 0, 2, 4], 37);
    const two = await run([3, 1, 0, 2, 4], 19);
    const apart = await Promise.all(LENGTHS.map((_, i) => run([i], 24)));
    const summed = new Float64Array(parameters.data.length).map((_, i) => apart.reduce((sum, { gradient }) => sum + (gradient[i] ?? 0), 0));
    expect([one.rows, two.rows, ...apart.map(({ rows }) => rows)]).toEqual([1, 2, 1, 1, 1, 1, 1]);
    for (const packed of [one, two]) expect(relativeError(packed.gradient, summed)).toBeLessThan(1e-5);
    expect(relativeError(one.nll.toSorted(), apart.flatMap(({ nll }) => [...nll]).sort((a, b) => a - b))).toBeLessThan(1e-5);
  });

  test("add their gradients to what was accumulated", async () => {
    const opened = await openAdapted(tinySetup(folder, data));
    using sessions = opened.sessions;
    const { session } = await sessions.train(1);
    const parameters = flatOf(opened.adapter.parameters);
    const feeds = { ...batchFeeds(stackClients([packExamples(data, [1], { width: 24 })])), parameters };
    const accumulated = flatOf(opened.adapter.parameters, 12);
    const first = await session.run({ ...feeds, accumulated: tensor("float32", parameters.shape, new Float32Array(parameters.data.length)) });
    const second = await session.run({ ...feeds, accumulated });
    const slope = toReference(must(first["accumulated_out"], "gradient")).data;
    expect(relativeError(must(second["accumulated_out"], "gradient").data, slope.map((x, i) => x + (accumulated.data[i] ?? 0)))).toBeLessThan(1e-6);
  });
});

describe("after attention of the last layer", () => {
  test.each(Object.entries(TINY_CONFIGS))("products of %s are made for rows with a label alone", (_, config) => {
    const model = openTiny(config);
    const { nodes, values } = lossGraph({ model, adapter: undefined }, { clients: 1, maxLabelledRows: 8 });
    const heights = nodes.filter(({ op, inputs: [, weight] }) => op === "MatMul" && values[weight ?? -1]?.shape.length === 2).flatMap(({ outputs }) => outputs.map((id) => values[id]?.shape.at(-2)));
    const ofLayers = model.linears.filter(({ isHead }) => !isHead);
    const last = ofLayers.slice(ofLayers.length - ofLayers.length / model.layers).filter(({ path }) => !/\.(?:[qkv]_proj|qkv_proj|c_attn|query_key_value)$/.test(path));
    expect(last.length).toBeGreaterThanOrEqual(3);
    expect(heights.filter((dim) => dim === "L")).toHaveLength(last.length);
  });
});

/** A model so small that every value of its adapter can be moved: width 8, one layer, two heads on one. */
const TINIEST = { ...TINY_CONFIG, vocab_size: 11, hidden_size: 8, intermediate_size: 7, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 1 };

describe("the gradient of a whole model in float64 is that of central differences", () => {
  test.each([
    ["LoRA on every linear module", {}, "all-linear", 0],
    ["LoRA with dropout", {}, ["k_proj", "down_proj"], 0.4],
    ["LoRA on the output embedding alone", { tie_word_embeddings: false }, ["lm_head"], 0],
    ["LoRA on the output embedding and below", { tie_word_embeddings: false }, ["lm_head", "o_proj", "gate_proj"], 0],
    ["LoRA on an output embedding that is tied to the input embedding", { tie_word_embeddings: true }, ["lm_head", "v_proj"], 0],
  ])("%s", (_, changes, target_modules, lora_dropout) => {
    const config = { ...TINIEST, ...changes };
    const model = llama.open(config, "test");
    const adapter = bindAdapter(adapterSchema.parse({ r: 2, lora_alpha: 3, target_modules, lora_dropout }), model);
    const specs = adapter.parameters;
    const options = { clients: 1, maxLabelledRows: 24 } as const;
    const { graph, masks } = trainGraph({ model, adapter }, options);
    expect(masks.map(({ width }) => width)).toEqual(lora_dropout > 0 ? [8, 7] : []);
    const batch = stackClients([packExamples(randomDataset([5, 4, 3], config.vocab_size), [0, 1, 2], { width: 9 })]);
    const parameters = toReference(flatOf(specs));
    const weights = Float32Array.from(batch.weights, (w, i) => w * (0.5 + i / 3));
    const feeds = new Map<string, ReferenceTensor>([
      ...referenceWeights(config),
      ...Object.entries(batchFeeds(batch)).map(([name, t]): [string, ReferenceTensor] => [name, toReference(t)]),
      ...masks.map(({ name, width }): [string, ReferenceTensor] => {
        const shape = [1, batch.rows * batch.width, width];
        return [name, { dtype: "bool", shape, data: uniforms(randomKey(1, name), [], elementCount(shape)).map((u) => Number(u > lora_dropout)) }];
      }),
      ["weights", toReference(tensor("float32", [1, weights.length], weights))],
      ["parameters", parameters],
      ["accumulated", { ...parameters, data: new Float64Array(parameters.data.length) }],
    ]);
    const value = must(evaluateReference(graph, feeds).get("accumulated_out"), "gradient").data;
    const loss = (): number => must(evaluateReference(graph, feeds).get("nll"), "nll").data.reduce((sum, x, i) => sum + x * (weights[i] ?? 0), 0);
    const expected = centralDifferences(loss, parameters.data, 1e-5);
    const named = (flat: Float64Array) => [...unflatten(Float32Array.from(flat), specs)];
    for (const [i, [name, wanted]] of named(expected).entries()) {
      expect([name, relativeError(must(named(value)[i], name)[1].data, wanted.data) < 1e-6]).toEqual([name, true]);
      expect([name, wanted.data.some((x) => Math.abs(x) > 1e-3)]).toEqual([name, true]);
    }
  });
});

test("the loss graph gives the losses of the training graph", () => {
  const model = llama.open(TINIEST, "test");
  const adapter = bindAdapter(adapterSchema.parse({ r: 2, target_modules: ["q_proj", "up_proj"] }), model);
  const batch = stackClients([packExamples(randomDataset([5, 4], TINIEST.vocab_size), [0, 1], { width: 9 })]);
  const flat = toReference(flatOf(adapter.parameters));
  const feeds = new Map<string, ReferenceTensor>([...referenceWeights(TINIEST), ...Object.entries(batchFeeds(batch)).map(([name, t]): [string, ReferenceTensor] => [name, toReference(t)]), ["parameters", flat], ["accumulated", flat]]);
  const options = { clients: 1, maxLabelledRows: 24 } as const;
  const training = evaluateReference(trainGraph({ model, adapter }, options).graph, feeds).get("nll");
  expect(evaluateReference(lossGraph({ model, adapter }, options), feeds).get("nll")).toEqual(training);
});
