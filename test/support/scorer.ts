/** Asks a model folder, without an adapter, for losses of given ids, likeliest next tokens and greedy continuations. */
import { must } from "../../src/core/base/errors.ts";
import type { EncodedDataset } from "../../src/llm/data/types.ts";
import { packExamples } from "../../src/llm/data/pack.ts";
import { stackClients } from "../../src/llm/data/stack.ts";
import { batchFeeds } from "../../src/llm/training/batch-feeds.ts";
import { createLocalTrainer, openModel } from "../../src/llm/training/local-trainer.ts";
import { fullLogits } from "./full-logits.ts";
import { randomDataset, tinySetup } from "./tiny-training.ts";

export interface Scorer extends AsyncDisposable {
  /** Negative log-likelihood of each id but the first, given those before it. */
  losses(ids: readonly number[]): Promise<Float32Array>;
  /** Ids of the `n` likeliest next tokens, the likeliest first. */
  likeliest(ids: readonly number[], n: number): Promise<number[]>;
  /** The next `n` ids, not stopping at an end token. */
  continueGreedily(ids: readonly number[], n: number): Promise<number[]>;
}

/** One example of which every token is labelled. */
function wholeText(ids: readonly number[]): EncodedDataset {
  const shared = (values: readonly number[]): Int32Array<SharedArrayBuffer> => {
    const array = new Int32Array(new SharedArrayBuffer(4 * values.length));
    array.set(values);
    return array;
  };
  return { ids: shared(ids), labels: shared(ids), offsets: shared([0, ids.length]) };
}

export async function openScorer(modelFolder: string): Promise<Scorer> {
  const { adapter: _none, ...bare } = tinySetup(modelFolder, randomDataset([], 1));
  const setup = { ...bare, packTokens: 256 };
  const { model, sessions } = await openModel(setup);
  const trainer = await createLocalTrainer(setup, () => false);
  return {
    async losses(ids) {
      const pack = packExamples(wholeText(ids), [0], { width: ids.length });
      const { nll } = await (await sessions.loss(false)).run(batchFeeds(stackClients([pack])));
      // The graph declares nll as float32.
      return must(nll, "nll").data as Float32Array;
    },
    async likeliest(ids, n) {
      const logits = (await fullLogits({ session: await sessions.generate(false), model, adapted: undefined }, ids)).subarray(-model.vocabSize);
      return [...logits.keys()].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0)).slice(0, n);
    },
    async continueGreedily(ids, n) {
      const options = { maxNewTokens: n, temperature: 0, topK: 0, topP: 1, stop: [], seed: 0, stopAtEnd: false };
      const [next] = await trainer.generate({ prompts: [Int32Array.from(ids)], options }, {});
      return [...must(next, "continuation")];
    },
    async [Symbol.asyncDispose]() {
      sessions[Symbol.dispose]();
      await trainer[Symbol.asyncDispose]();
    },
  };
}
