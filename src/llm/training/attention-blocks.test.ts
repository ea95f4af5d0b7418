import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { openTiny, referenceWeights, TINY_CONFIGS } from "../../../test/support/tiny-models.ts";
import { randomAdapter, randomDataset } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { ReferenceTensor } from "../../engine/graph/ops/record.ts";
import { evaluateReference, toReference } from "../../engine/runtime/reference.ts";
import { findPeak } from "../../engine/passes/memory-model.ts";
import { bindAdapter } from "../adapters/all.ts";
import { adapterSchema } from "../adapters/settings.ts";
import { packExamples } from "../data/pack.ts";
import { stackClients } from "../data/stack.ts";
import { batchFeeds } from "./batch-feeds.ts";
import { flatSize, flatten } from "./flat.ts";
import { trainGraph } from "./graphs.ts";

describe.each(Object.entries(TINY_CONFIGS))("attention of %s in three blocks of queries, in float64", (_, config) => {
  test("gives the losses and gradients of attention at once", () => {
    const model = openTiny(config);
    const adapter = bindAdapter(adapterSchema.parse({ r: 2, lora_alpha: 3, target_modules: "all-linear" }), model);
    const flat = tensor("float32", [1, flatSize(adapter.parameters)], new Float32Array(flatSize(adapter.parameters)));
    flatten(randomAdapter(adapter.parameters), adapter.parameters, flat.data);
    // Two rows of 12 tokens, cut into 4, 4 and 4: examples begin and end inside of blocks, and span them.
    const batch = stackClients([packExamples(randomDataset([7, 4, 9], model.vocabSize), [0, 1, 2], { width: 11 })], { multiple: 3 });
    const parameters = toReference(flat);
    const feeds = new Map<string, ReferenceTensor>([
      ...referenceWeights(config),
      ...Object.entries(batchFeeds(batch)).map(([name, t]): [string, ReferenceTensor] => [name, toReference(t)]),
      ["weights", toReference(tensor("float32", [1, batch.weights.length], Float32Array.from(batch.weights, (w, i) => w * (0.5 + i / 3))))],
      ["parameters", parameters], ["accumulated", parameters],
    ]);
    const outputs = (attentionBlocks: number) => evaluateReference(trainGraph({ model, adapter }, { clients: 1, maxLabelledRows: 24, attentionBlocks }).graph, feeds);
    const [whole, cut] = [outputs(1), outputs(3)];
    expect([batch.rows, batch.width]).toEqual([2, 12]);
    for (const name of ["nll", "accumulated_out"]) expect(relativeError(must(cut.get(name), name).data, must(whole.get(name), name).data)).toBeLessThan(1e-12);
  });
});

test("within the smallest budget, what flows between layers stays and their queries and keys do not", () => {
  const model = openTiny({ ...TINY_CONFIGS.llama, hidden_size: 64, intermediate_size: 96, num_hidden_layers: 12, num_attention_heads: 4 });
  const adapter = bindAdapter(adapterSchema.parse({ r: 2, target_modules: ["q_proj", "v_proj"] }), model);
  const sizes = new Map([["C", 1], ["B", 1], ["T", 64], ["L", 256]]);
  const { graph } = trainGraph({ model, adapter }, { clients: 1, maxLabelledRows: 256, attentionBlocks: 4, budget: { bytes: 0, allBytes: 0, sizes } });
  // 3.7 MB where what flows between layers is given up and their queries and keys stay.
  expect(findPeak(graph, sizes).bytes).toBeLessThan(3e6);
});

test("pieces of logits take an eighth of a budget that all of them exceed, and what they always take where it is ample", () => {
  const model = openTiny({ ...TINY_CONFIGS.llama, vocab_size: 50_000 });
  const adapter = bindAdapter(adapterSchema.parse({ r: 2, target_modules: ["q_proj"] }), model);
  const sizes = new Map([["C", 1], ["B", 1], ["T", 4096], ["L", 4096]]);
  const bytesOfPiece = (allBytes: number, bytes = allBytes): number => {
    const { graph } = trainGraph({ model, adapter }, { clients: 1, maxLabelledRows: 4096, budget: { bytes, allBytes, sizes } });
    const { minimumRows, chunks } = must(graph.nodes.find((node) => node.op === "LinearCrossEntropy"), "loss").attributes;
    expect(chunks * minimumRows).toBeGreaterThanOrEqual(4096);
    return 4 * 50_000 * minimumRows;
  };
  const row = 4 * 50_000;
  for (const bytes of [1e8, 2e8]) expect(Math.abs(bytesOfPiece(bytes) - bytes / 8)).toBeLessThan(row);
  // The share of one of several passes at the same time decides nothing.
  expect(bytesOfPiece(9e8, 1e8)).toBe(bytesOfPiece(9e8));
  for (const bytes of [8e8, 1e12]) expect(Math.abs(bytesOfPiece(bytes) - 2 ** 25)).toBeLessThan(row);
});
