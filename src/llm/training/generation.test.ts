import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fullLogits } from "../../../test/support/full-logits.ts";
import { openAdapted, randomAdapter, randomDataset, temporaryFolder, tinySetup } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { generateTexts } from "./generation.ts";
import { createLocalTrainer } from "./local-trainer.ts";
import { sampleToken } from "./sampling.ts";
import type { GenerateOptions, Trainer } from "./types.ts";

const MODEL = "assets/stories260k";
temporaryFolder();
const setup = tinySetup(MODEL, randomDataset([], 1), { adapter: { target_modules: ["q_proj", "v_proj", "lm_head"] } });

let trainer: Trainer;
let opened: Awaited<ReturnType<typeof openAdapted>>;
let tokenizer: Tokenizer;
let adapter: NamedTensors<"float32">;
beforeAll(async () => {
  trainer = await createLocalTrainer(setup, () => false);
  opened = await openAdapted(setup);
  tokenizer = loadTokenizer(MODEL);
  adapter = randomAdapter(opened.adapter.parameters);
});
afterAll(async () => {
  await trainer[Symbol.asyncDispose]();
  opened.sessions[Symbol.dispose]();
});

const GREEDY: GenerateOptions = { maxNewTokens: 12, temperature: 0, topK: 0, topP: 1, stop: [], seed: 5, stopAtEnd: false };
const DRAWN: GenerateOptions = { ...GREEDY, temperature: 1.1, topK: 40, topP: 0.95 };
const prompt = (text: string): Int32Array => tokenizer.encode(text, { addSpecialTokens: true });
const PROMPTS = ["Once upon a time", "The big red dog ran to the park and saw", "A", "Lily and Tom like to play with their toys in the"].map((text) => () => prompt(text));
const decode = (ids: ArrayLike<number>): string => tokenizer.decode(ids, { skipSpecialTokens: true });

async function generate(prompts: readonly Int32Array[], options: GenerateOptions, tensors?: NamedTensors<"float32">): Promise<number[][]> {
  return (await trainer.generate({ prompts, options, ...(tensors === undefined ? {} : { adapter: tensors }) }, {})).map((ids) => [...ids]);
}

describe("generation with a cache", () => {
  test.each([["greedy", GREEDY], ["drawn", DRAWN]])("gives what full forward passes give, under an adapter: %s", async (_, options) => {
    const start = prompt("Once upon a time, there was a");
    const adapted = { adapter: opened.adapter, feeds: await opened.opened.feeds(adapter), prefix: () => opened.sessions.prefix() };
    const full = { session: await opened.sessions.generate(true), model: opened.model, adapted };
    const expected: number[] = [];
    for (let step = 0; step < options.maxNewTokens; step++) {
      const logits = await fullLogits(full, [...start, ...expected]);
      expected.push(sampleToken(logits.subarray(-opened.model.vocabSize), options, 0, step));
    }
    expect(await generate([start], options, adapter)).toEqual([expected]);
    expect(await generate([start], options)).not.toEqual([expected]);
  });

  test("gives prompts of unequal length together what each gives alone", async () => {
    const prompts = PROMPTS.map((make) => make());
    expect(new Set(prompts.map((ids) => ids.length)).size).toBe(4);
    const together = await generate(prompts, GREEDY, adapter);
    for (const [i, ids] of prompts.entries()) expect(together[i]).toEqual((await generate([ids], GREEDY, adapter))[0]);
    expect(new Set(together.map(String)).size).toBeGreaterThan(2);
  });

  test("goes on with fewer rows as texts end, each as if it were alone", async () => {
    const prompts = PROMPTS.map((make) => make());
    const options = { ...DRAWN, maxNewTokens: 60, stop: ["."] };
    const together = await generate(prompts, options);
    const lengths = together.map((ids) => ids.length);
    // Rows leave one after another, and the last one goes on alone.
    expect(new Set(lengths).size).toBeGreaterThan(2);
    const full = { session: await opened.sessions.generate(false), model: opened.model, adapted: undefined };
    for (const [row, text] of together.entries()) {
      const start = prompts[row] ?? [];
      const logits = await fullLogits(full, [...start, ...text.slice(0, -1)]);
      expect(text.map((_, i) => sampleToken(logits.subarray((start.length - 1 + i) * opened.model.vocabSize, (start.length + i) * opened.model.vocabSize), options, row, i))).toEqual(text);
    }
  });

  test("goes on where the room of its cache ends, in rows of unequal length", async () => {
    const prompts = [prompt("Once upon a time, there was a"), prompt("A")];
    const texts = await generate(prompts, { ...GREEDY, maxNewTokens: 150 });
    const full = { session: await opened.sessions.generate(false), model: opened.model, adapted: undefined };
    for (const [row, text] of texts.entries()) {
      const start = prompts[row] ?? [];
      const logits = await fullLogits(full, [...start, ...text.slice(0, -1)]);
      const likeliest = text.map((_, i) => sampleToken(logits.subarray((start.length - 1 + i) * opened.model.vocabSize, (start.length + i) * opened.model.vocabSize), GREEDY, row, i));
      expect(text).toEqual(likeliest);
    }
  });

  test("draws by seed: equal seeds alike, others not", async () => {
    const start = [prompt("One day")];
    const first = await generate(start, DRAWN);
    expect(await generate(start, DRAWN)).toEqual(first);
    expect(await generate(start, { ...DRAWN, seed: 6 })).not.toEqual(first);
  });
});

describe("a text ends", () => {
  test("at max_new_tokens, with no token of it lost", async () => {
    const [long = []] = await generate([prompt("One day")], { ...GREEDY, maxNewTokens: 9 });
    const [short = []] = await generate([prompt("One day")], { ...GREEDY, maxNewTokens: 4 });
    expect([long.length, short]).toEqual([9, long.slice(0, 4)]);
    expect(await generate([prompt("One day")], { ...GREEDY, maxNewTokens: 0 })).toEqual([[]]);
  });

  test("with the token that completes a stop string, while its neighbours go on", async () => {
    const prompts = [prompt("Once upon a time"), prompt("The dog")];
    const free = await generate(prompts, { ...GREEDY, maxNewTokens: 30 });
    const stop = decode(free[0] ?? []).slice(13, 19);
    expect(decode(free[1] ?? [])).not.toContain(stop);
    const [stopped = [], other] = await generate(prompts, { ...GREEDY, maxNewTokens: 30, stop: ["never written", stop] });
    expect(free[0]?.slice(0, stopped.length)).toEqual(stopped);
    expect(decode(stopped)).toContain(stop);
    expect(decode(stopped.slice(0, -1))).not.toContain(stop);
    expect(other).toEqual(free[1]);
  });

  test("before an end token, which is not part of it; or not at all where that is switched off", async () => {
    const [free = []] = await generate([prompt("Once upon a time")], GREEDY);
    // What comes fifth is made the end token: stories of 260 k parameters hardly ever end by themselves.
    const endId = must(free[5], "sixth token");
    const first = free.indexOf(endId);
    const ending: Tokenizer = { ...tokenizer, endIds: [2, endId] };
    const seen: number[] = [];
    const context = { session: await opened.sessions.generate(false), decode: () => opened.sessions.decode(false, { several: false, rows: 1 }), model: opened.model, tokenizer: ending, adapted: undefined, aborted: () => false, onToken: (_: number, id: number) => seen.push(id) };
    const [ended] = await generateTexts(context, [prompt("Once upon a time")], { ...GREEDY, stopAtEnd: true });
    expect([...must(ended, "text")]).toEqual(free.slice(0, first));
    expect(seen).toEqual(free.slice(0, first));
    const [unended] = await generateTexts(context, [prompt("Once upon a time")], GREEDY);
    expect([...must(unended, "text")]).toEqual(free);
  });
});

test("onToken sees every token of every row, in order", async () => {
  const seen: number[][] = [[], []];
  const prompts = [prompt("One day"), prompt("The little girl went")];
  const texts = await trainer.generate({ prompts, options: GREEDY }, { onToken: (row, id) => seen[row]?.push(id) });
  expect(seen).toEqual(texts.map((ids) => [...ids]));
});

describe("generation is refused", () => {
  test("where prompt and new tokens exceed the model's positions, and fills them to the last", async () => {
    const ids = new Int32Array(508).fill(300);
    await expect(generate([prompt("A"), ids], { ...GREEDY, maxNewTokens: 5 })).rejects.toMatchObject({ code: "config", message: "prompt: expected prompt and new tokens within the model's 512 positions, got 508 + 5. Shorten the prompt or lower max_new_tokens." });
    expect((await generate([ids], { ...GREEDY, maxNewTokens: 4 }))[0]).toHaveLength(4);
  });

  test("for an empty prompt", async () => {
    await expect(generate([prompt("A"), new Int32Array()], GREEDY)).rejects.toMatchObject({ code: "config", message: "prompt: expected at least one token, got an empty prompt. Give some text." });
  });

  test("not for no prompts at all", async () => {
    expect(await generate([], GREEDY)).toEqual([]);
  });
});
