/** Gradients of a small model's loss by an adapter's tensors: what the training graph says and what central differences say, in float64. */
import { must } from "../../src/core/base/errors.ts";
import { tensor, type Tensor } from "../../src/core/base/tensor.ts";
import type { ReferenceTensor } from "../../src/engine/graph/ops/record.ts";
import { evaluateReference, toReference } from "../../src/engine/runtime/reference.ts";
import { bindAdapter } from "../../src/llm/adapters/all.ts";
import { adapterSchema } from "../../src/llm/adapters/settings.ts";
import { packExamples } from "../../src/llm/data/pack.ts";
import { stackClients } from "../../src/llm/data/stack.ts";
import { batchFeeds } from "../../src/llm/training/batch-feeds.ts";
import { flatSize, flatten, unflatten } from "../../src/llm/training/flat.ts";
import { lossGraph, trainGraph } from "../../src/llm/training/graphs.ts";
import { centralDifferences } from "./numbers.ts";
import { openTiny, randomWeights, referenceWeights, type ModelConfig } from "./tiny-models.ts";
import { randomAdapter, randomDataset } from "./tiny-training.ts";

/** A llama so small that every value of it can be moved: width 8, one layer, two heads on one key-value head, 11 tokens. */
export const TINIEST_LLAMA = {
  model_type: "llama", vocab_size: 11, hidden_size: 8, intermediate_size: 7, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 1,
  max_position_embeddings: 64, rms_norm_eps: 1e-5, rope_theta: 500, tie_word_embeddings: true,
} as const;
/** A GPT-2 of that size. */
export const TINIEST_GPT2 = { model_type: "gpt2", vocab_size: 11, n_embd: 8, n_layer: 1, n_head: 2, n_inner: 7, n_positions: 12 } as const;

export interface TensorGradient {
  readonly name: string;
  /** From the training graph. */
  readonly value: Float32Array;
  /** By central differences of the loss. */
  readonly expected: Float32Array;
}

/** Both gradients of each of an adapter's tensors, at random values, over packed examples whose tokens weigh differently. */
export function tensorGradients(config: ModelConfig, settings: Readonly<Record<string, unknown>>): readonly TensorGradient[] {
  const model = openTiny(config);
  const adapter = bindAdapter(adapterSchema.parse(settings), model);
  const specs = adapter.parameters;
  const batch = stackClients([packExamples(randomDataset([5, 4, 3], model.vocabSize), [0, 1, 2], { width: 9 })]);
  const weights = Float32Array.from(batch.weights, (w, i) => w * (0.5 + i / 3));
  const flat = tensor("float32", [1, flatSize(specs)], new Float32Array(flatSize(specs)));
  const base = randomWeights(config, 3);
  // What stands in the place of a weight is near it: scores and gradients stay of a size to compare.
  const near = [...randomAdapter(specs)].map(([name, t]): [string, Tensor<"float32">] => [name, { ...t, data: t.data.map((x, i) => x + (base.get(name)?.data[i] ?? 0)) }]);
  flatten(new Map(near), specs, flat.data);
  const parameters = toReference(flat);
  const feeds = new Map<string, ReferenceTensor>([
    ...referenceWeights(config),
    ...Object.entries(batchFeeds(batch)).map(([name, t]): [string, ReferenceTensor] => [name, toReference(t)]),
    ["weights", toReference(tensor("float32", [1, weights.length], weights))],
    ["parameters", parameters],
    ["accumulated", { ...parameters, data: new Float64Array(parameters.data.length) }],
  ]);
  const options = { clients: 1, maxLabelledRows: 24 } as const;
  const value = must(evaluateReference(trainGraph({ model, adapter }, options).graph, feeds).get("accumulated_out"), "gradient").data;
  const forward = lossGraph({ model, adapter }, options);
  const loss = (): number => must(evaluateReference(forward, feeds).get("nll"), "nll").data.reduce((sum, x, i) => sum + x * (weights[i] ?? 0), 0);
  const expected = unflatten(Float32Array.from(centralDifferences(loss, parameters.data)), specs);
  return [...unflatten(Float32Array.from(value), specs)].map(([name, t]) => ({ name, value: t.data, expected: must(expected.get(name), name).data }));
}
