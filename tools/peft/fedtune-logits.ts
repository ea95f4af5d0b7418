/** fedtune's own logits of whole prompts under an adapter folder, for comparison with PEFT's. */
import { must } from "../../src/core/base/errors.ts";
import { tensor, type Tensor } from "../../src/core/base/tensor.ts";
import { readAdapterSettings } from "../../src/llm/adapters/adapter-folder.ts";
import { openModel } from "../../src/llm/training/local-trainer.ts";
import { trainingSchema } from "../../src/llm/training/settings.ts";
import type { TrainerSetup } from "../../src/llm/training/setup.ts";

export interface LogitsRequest {
  readonly modelFolder: string;
  /** A PEFT adapter folder. */
  readonly adapterFolder: string;
  /** Token ids of each prompt. */
  readonly prompts: readonly (readonly number[])[];
}

/** float32 `[T, V]` for each prompt of T tokens. */
export async function fedtuneLogits({ modelFolder, adapterFolder, prompts }: LogitsRequest): Promise<readonly Float32Array[]> {
  const nothing = (length: number): Int32Array<SharedArrayBuffer> => new Int32Array(new SharedArrayBuffer(length * 4));
  const setup: TrainerSetup = {
    modelFolder,
    adapter: { ...readAdapterSettings(adapterFolder), init_from: adapterFolder },
    training: trainingSchema.parse({}),
    runtime: { device: "cpu", threads: 1, basePrecision: "float32", compute: "float32", clientsSideBySide: 1, tokensPerMicroBatch: 256 },
    data: { ids: nothing(0), labels: nothing(0), offsets: nothing(1) },
    packTokens: 256,
    seed: 1,
  };
  const { model, opened: maybe, sessions } = await openModel(setup);
  using _sessions = sessions;
  const opened = must(maybe, "adapter");
  const feeds = await opened.feeds(await opened.initial());
  const session = await sessions.generate(true);
  const empty = tensor("float32", [1, model.keyValueHeads, 0, model.headWidth], new Float32Array(0));
  const pasts = Array.from({ length: model.layers }, (_, i): [string, Tensor][] => [[`past_key_${i}`, empty], [`past_value_${i}`, empty]]);
  const results: Float32Array[] = [];
  for (const prompt of prompts) {
    const places = Int32Array.from(prompt, (_, i) => i);
    const out = await session.run({
      ids: tensor("int32", [1, 1, prompt.length], Int32Array.from(prompt)),
      positions: tensor("int32", [1, 1, prompt.length], places),
      key_positions: tensor("int32", [1, prompt.length], places),
      rows: tensor("int32", [1, prompt.length], places),
      ...feeds,
      ...Object.fromEntries(pasts.flat()),
    });
    // The graph declares logits as float32.
    results.push(must(out["logits"], "logits").data as Float32Array);
  }
  return results;
}
