import { afterAll, describe, expect, test } from "vitest";
import { randomAdapter, randomDataset, temporaryFolder, tinySetup } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import { adapterSchema } from "../adapters/settings.ts";
import { loadTokenizer } from "../text/tokenizer.ts";
import { createLocalTrainer } from "./local-trainer.ts";
import type { GenerateOptions, Trainer } from "./types.ts";

const MODEL = "assets/stories260k";
temporaryFolder();
const tokenizer = loadTokenizer(MODEL);
const PROMPTS = ["Once upon a time", "The big red dog ran to the park and saw", "A", "Lily and Tom like to play", "One day"].map((text) => tokenizer.encode(text, { addSpecialTokens: true }));
const OPTIONS: GenerateOptions = { maxNewTokens: 8, temperature: 1, topK: 30, topP: 1, stop: [], seed: 5, stopAtEnd: false };
const trainers: Trainer[] = [];
afterAll(async () => {
  for (const trainer of trainers) await trainer[Symbol.asyncDispose]();
});

describe.each([
  ["LoRA", { method: "lora", r: 3, target_modules: ["q_proj", "v_proj", "lm_head"] }],
  ["prefix", { method: "prefix", num_virtual_tokens: 20 }],
  ["prompt", { method: "prompt", num_virtual_tokens: 3 }],
])("prompts under several adapters at once: %s", (_, settings) => {
  async function open(): Promise<{ trainer: Trainer; adapters: readonly NamedTensors<"float32">[] }> {
    const { adapter: _own, ...setup } = tinySetup(MODEL, randomDataset([], 1));
    const trainer = await createLocalTrainer({ ...setup, adapter: adapterSchema.parse(settings) }, () => false);
    trainers.push(trainer);
    const specs = [...(await trainer.initialAdapter())].map(([name, { shape }]) => ({ name, shape, start: () => new Float32Array() }));
    return { trainer, adapters: [1, 2].map((seed) => randomAdapter(specs, seed)) };
  }

  test("each gives what it gives alone, the base's rows included, in the order asked", async () => {
    const { trainer, adapters: [a, b] } = await open();
    const [first, second] = [must(a, "a"), must(b, "b")];
    const seen: number[][] = PROMPTS.map(() => []);
    const together = await trainer.generate({ prompts: PROMPTS, adapters: [first, second, null, first, first], options: OPTIONS }, { onToken: (row, id) => seen[row]?.push(id) });
    // Draws are keyed by the row: each alone at its own row.
    const alone = async (adapter: NamedTensors<"float32"> | undefined): Promise<readonly Int32Array[]> => trainer.generate({ prompts: PROMPTS, options: OPTIONS, ...(adapter && { adapter }) }, {});
    const [byFirst, bySecond, byBase] = [await alone(first), await alone(second), await alone(undefined)];
    const expected = [byFirst[0], bySecond[1], byBase[2], byFirst[3], byFirst[4]];
    expect(together.map((ids) => [...ids])).toEqual(expected.map((ids) => [...must(ids, "ids")]));
    expect(seen).toEqual(together.map((ids) => [...ids]));
    expect(byFirst.join("; ")).not.toBe(bySecond.join("; "));
  });

  test("as many adapters as prompts are asked for", async () => {
    const { trainer, adapters: [a] } = await open();
    await expect(trainer.generate({ prompts: PROMPTS, adapters: [must(a, "a")], options: OPTIONS }, {})).rejects.toMatchObject({ code: "config" });
  });
});
