import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { openScorer } from "../../../test/support/scorer.ts";
import { randomAdapter, temporaryFolder } from "../../../test/support/tiny-training.ts";
import { writeTinyLlama } from "../../../test/support/tiny-llama.ts";
import { must } from "../../core/base/errors.ts";
import { writeAdapterFolder } from "../adapters/adapter-folder.ts";
import { bindAdapter } from "../adapters/all.ts";
import { adapterSchema } from "../adapters/settings.ts";
import { openArchitecture } from "../architectures/all.ts";
import { ask, type AskContext } from "./ask.ts";
import type { ChoiceQuestion, WrittenAnswer, WrittenQuestion } from "./benchmark.ts";
import { askBenchmark, evaluate, type BenchmarkRequest, type BenchmarkResult } from "./evaluate.ts";
import { openJudgedModel, type JudgedModel } from "./open-model.ts";
import { encodeText } from "./prompts.ts";

const MODEL = "assets/stories260k";
const folder = temporaryFolder();
delete process.env["FEDTUNE_DATA"];
const inFolder = { baseFolder: folder, out: folder };

function writeRows(name: string, rows: readonly unknown[]): string {
  writeFileSync(join(folder, name), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  return name;
}

const answers = (name: string): Record<string, unknown>[] => readFileSync(join(folder, `${name}.jsonl`), "utf8").trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);

let model: JudgedModel;
beforeAll(async () => {
  model = await openJudgedModel({ model: MODEL });
});
afterAll(() => model[Symbol.asyncDispose]());

const contextOf = (changes: Partial<AskContext>): AskContext => ({
  benchmark: "t", tokenizer: model.tokenizer, contextTokens: 512, bos: "always", trainer: model.trainer, adapter: undefined, seed: 3, batchSize: 32, judgesAtOnce: 1, signal: new AbortController().signal, onProgress: () => undefined, ...changes,
});

describe("given answers", () => {
  const QUESTIONS = [
    { question: "Lily went to the", choices: ["park", "garden with her mom", "x"], answer: 0, kind: "place" },
    { question: "The dog was very", choices: ["happy and ran away", "sad"], answer: "B", kind: "mood" },
    { question: "Tom saw a big", choices: ["tree", "red ball", "house in the park"], answer: "red ball", kind: "thing" },
  ];
  const settings = { path: "quiz.jsonl", demonstrations: "shots.jsonl", prompt: "One day. {question}" };
  beforeAll(() => {
    writeRows("quiz.jsonl", QUESTIONS);
    writeRows("shots.jsonl", [{ question: "She said", choices: ["yes", "no"], answer: 1 }, { question: "He liked to", choices: ["play", "eat"], answer: "play" }]);
  });

  test("are as likely as one pass over each text says", async () => {
    const result = await askBenchmark(model, { name: "multiple-choice", settings: { ...settings, category: "kind" } }, inFolder);
    await using scorer = await openScorer(MODEL);
    const context = { tokenizer: model.tokenizer, bos: "always" } as const;
    const shots = "One day. She said no\n\nOne day. He liked to play\n\n";
    for (const [i, { question, choices }] of QUESTIONS.entries()) {
      const answer = must(answers("multiple-choice")[i], "answer");
      expect(answer).toMatchObject({ id: `${i}`, prompt: `${shots}One day. ${question}`, gold: [0, 1, 1][i], category: QUESTIONS[i]?.kind });
      const outputs = answer["outputs"] as { choice: string; logLikelihood: number; tokens: number }[];
      for (const [c, choice] of choices.entries()) {
        const before = encodeText(`${shots}One day. ${question}`, context);
        const whole = encodeText(`${shots}One day. ${question} ${choice}`, context);
        const losses = (await scorer.losses([...whole])).slice(before.length - 1);
        expect(outputs[c]).toMatchObject({ choice: ` ${choice}`, tokens: losses.length });
        expect(outputs[c]?.logLikelihood).toBeCloseTo(-losses.reduce((a, b) => a + b, 0), 4);
      }
    }
    expect(result).toMatchObject({ benchmark: "multiple-choice", questions: 3, asked: 3, counted: 3, skipped: [] });
    expect(result.figures.map(({ group }) => group?.name)).toEqual([undefined, "mood", "place", "thing"]);
    expect(JSON.parse(readFileSync(join(folder, "multiple-choice.json"), "utf8"))).toEqual(result);
  });

  test("count by their last token alone, put behind the prompt's tokens, where a question says so", async () => {
    const quiz: ChoiceQuestion = { kind: "choice", id: "a", facts: {}, prompt: { header: "", shots: [], own: "Lily said", overflow: "error" }, choices: ["a dog", "the park", "she"], scoring: "last-token", judge: (scored) => ({ parsed: scored.map(({ tokens }) => tokens), scores: {} }) };
    const context = contextOf({});
    await using scorer = await openScorer(MODEL);
    for await (const { outputs, judgement } of ask([quiz], new Map([["a", 0]]), context)) {
      expect(judgement.parsed).toEqual([1, 1, 1]);
      for (const [c, choice] of quiz.choices.entries()) {
        const last = must(model.tokenizer.encode(choice, { addSpecialTokens: false }).at(-1), "token");
        const losses = await scorer.losses([...encodeText("Lily said", context), last]);
        expect((outputs[c] as { logLikelihood: number }).logLikelihood).toBeCloseTo(-(losses.at(-1) ?? NaN), 4);
      }
    }
    expect.assertions(4);
  });

  test("are divided by their length where that is asked for", async () => {
    const outputs = async (normalisation: string): Promise<number[]> => {
      await askBenchmark(model, { name: "multiple-choice", settings: { ...settings, normalisation } }, inFolder);
      return answers("multiple-choice").map(({ parsed, outputs: list }) => {
        const lengths = (list as { choice: string; logLikelihood: number; tokens: number }[]).map(({ choice, tokens }) => ({ none: 1, tokens, characters: choice.length - 1, bytes: choice.length - 1 })[normalisation] ?? NaN);
        const scores = (list as { logLikelihood: number }[]).map(({ logLikelihood }, i) => logLikelihood / (lengths[i] ?? NaN));
        expect(parsed).toBe(scores.indexOf(Math.max(...scores)));
        return Number(parsed);
      });
    };
    const found = new Set<string>();
    for (const normalisation of ["none", "tokens", "characters", "bytes"]) found.add(String(await outputs(normalisation)));
    expect(found.size).toBeGreaterThan(1);
  });

  test("a smaller sample is part of a larger one, and the same every time", async () => {
    writeRows("many.jsonl", Array.from({ length: 40 }, (_, i) => ({ question: `Tom saw ${i}`, choices: ["cats", "dogs"], answer: i % 2 })));
    const ids = async (limit: number): Promise<unknown[]> => {
      const result = await askBenchmark(model, { name: "multiple-choice", settings: { path: "many.jsonl" } }, { ...inFolder, limit });
      expect(result).toMatchObject({ questions: 40, asked: limit });
      return answers("multiple-choice").map(({ id }) => id);
    };
    const [few, many] = [await ids(7), await ids(23)];
    expect(new Set(few).size).toBe(7);
    expect(many).toEqual(expect.arrayContaining(few));
    expect(await ids(7)).toEqual(few);
    expect(few).not.toEqual(["0", "1", "2", "3", "4", "5", "6"]);
  });
});

describe("answers in own words", () => {
  const question = (id: string, own: string, changes: Partial<WrittenQuestion> & { readonly temperature?: number; readonly stop?: readonly string[] } = {}): WrittenQuestion => ({
    kind: "written", id, facts: {}, samples: changes.samples ?? 1,
    sampling: { maxNewTokens: 12, temperature: changes.temperature ?? 0, topK: 0, topP: 1, stop: changes.stop ?? [] },
    prompt: { header: "", shots: ["Once upon a time, there was a little girl named Lily. "], own, overflow: "error" },
    judge: changes.judge ?? ((list) => ({ parsed: list.map(({ text }) => text), scores: {} })),
  });
  const OWN = ["She liked to", "One day she saw a big", "The", "Her mom said that she", "It was a"];

  async function texts(questions: readonly WrittenQuestion[], changes: Partial<AskContext> = {}): Promise<Map<string, readonly WrittenAnswer[]>> {
    const found = new Map<string, readonly WrittenAnswer[]>();
    const places = new Map(OWN.map((own, i) => [own, i]));
    for await (const { id, outputs } of ask(questions, places, contextOf(changes))) found.set(id, outputs as unknown as readonly WrittenAnswer[]);
    return found;
  }

  test("are what the model writes to each prompt alone, whatever the batch", async () => {
    const together = await texts(OWN.map((own) => question(own, own)));
    expect(await texts(OWN.map((own) => question(own, own)), { batchSize: 2 })).toEqual(together);
    for (const own of OWN) {
      const prompt = encodeText(`Once upon a time, there was a little girl named Lily. ${own}`, { tokenizer: model.tokenizer, bos: "always" });
      const [ids] = await model.trainer.generate({ prompts: [prompt], options: { maxNewTokens: 12, temperature: 0, topK: 0, topP: 1, stop: [], seed: 0, stopAtEnd: true } }, {});
      const whole = model.tokenizer.decode([...prompt, ...must(ids, "ids")], { skipSpecialTokens: true });
      expect(together.get(own)).toEqual([{ text: whole.slice(model.tokenizer.decode(prompt, { skipSpecialTokens: true }).length), newTokens: 12, endedBy: "limit" }]);
    }
  });

  test("are drawn anew for each sample, and alike whatever else is asked", async () => {
    const drawn = OWN.map((own) => question(own, own, { samples: 3, temperature: 1 }));
    const all = await texts(drawn);
    const [first] = drawn;
    expect(new Set(all.get(OWN[0] ?? "")?.map(({ text }) => text)).size).toBe(3);
    expect(new Set([...all.values()].flat().map(({ text }) => text)).size).toBe(15);
    expect((await texts(drawn.slice(2, 4), { batchSize: 3 })).get(OWN[3] ?? "")).toEqual(all.get(OWN[3] ?? ""));
    expect((await texts([must(first, "question")], { seed: 4 })).get(OWN[0] ?? "")).not.toEqual(all.get(OWN[0] ?? ""));
  });

  test("end before a stop string, which is no part of them", async () => {
    const [own = ""] = OWN;
    const [free] = (await texts([question(own, own)])).get(own) ?? [];
    const stop = must(free?.text, "text").slice(8, 12);
    const [cut] = (await texts([question(own, own, { stop: ["never written", stop] })])).get(own) ?? [];
    expect(cut).toMatchObject({ text: free?.text.slice(0, free.text.indexOf(stop)), endedBy: "stop" });
    expect(cut?.newTokens).toBeLessThan(12);
  });

  test("are judged as many at a time as the benchmark allows, and a judge that fails ends the evaluation", async () => {
    let [running, most] = [0, 0];
    const release: (() => void)[] = [];
    const judge: WrittenQuestion["judge"] = async () => {
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => {
        release.push(resolve);
        // Nobody waits for more than may run.
        if (release.length === 2 || running === 1) queueMicrotask(() => release.splice(0).forEach((go) => go()));
      });
      running--;
      return { parsed: null, scores: {} };
    };
    await texts(OWN.map((own) => question(own, own, { judge })), { judgesAtOnce: 2 });
    expect(most).toBe(2);
    await expect(texts([question("The", "The", { judge: () => Promise.reject(new Error("no sandbox")) })])).rejects.toThrow("no sandbox");
  });
});

describe("rows of one's own", () => {
  const ROWS = ["a", "a", "b", "a", "b", "c"].map((client, i) => ({ client, split: i === 5 ? "train" : "test", kind: i < 3 ? "x" : "y", instruction: `Tell number ${i}`, output: "Lily saw a bird. ".repeat(1 + (i % 3)) }));
  const settings = { path: "rows.jsonl", max_tokens: 200 };
  beforeAll(() => void writeRows("rows.jsonl", ROWS));

  test("have one perplexity for each client and category, and one pooled by tokens", async () => {
    const { figures, questions } = await askBenchmark(model, { name: "perplexity", settings: { ...settings, category: "kind" } }, inFolder);
    expect(questions).toBe(5);
    expect(figures.map(({ group, questions: n }) => [group?.kind, group?.name, n])).toEqual([[undefined, undefined, 5], ["client", "a", 3], ["client", "b", 2], ["kind", "x", 3], ["kind", "y", 2]]);
    const lines = answers("perplexity").map(({ client, scores }) => ({ client, ...(scores as { nll: number; tokens: number }) }));
    const of = (part: typeof lines): number => Math.exp(part.reduce((sum, { nll }) => sum + nll, 0) / part.reduce((sum, { tokens }) => sum + tokens, 0));
    expect(figures[0]?.value).toBeCloseTo(of(lines), 10);
    expect(figures[2]?.value).toBeCloseTo(of(lines.filter(({ client }) => client === "b")), 10);
    expect(new Set(figures.map(({ value }) => value.toFixed(6))).size).toBe(5);
  });

  test("are answered and compared with their responses", async () => {
    const { figures } = await askBenchmark(model, { name: "rouge-l", settings: { path: settings.path, max_new_tokens: 20 } }, inFolder);
    expect(figures.slice(0, 3).map(({ name }) => name)).toEqual(["ROUGE-L", "precision", "recall"]);
    const [first] = answers("rouge-l");
    expect(first).toMatchObject({ reference: ROWS[0]?.output, client: "a" });
    expect(String(first?.["prompt"])).toMatch(/### Instruction:\nTell number 0\n\n### Response:$/);
  });

  test.each([
    ["a category that does not exist", { category: "knd" }, "rows.jsonl: expected a column `knd` (perplexity.category), got columns client, split, kind, instruction, output. Did you mean `kind`?"],
    ["a client without test rows", { clients: ["a", "c"] }, "rows.jsonl, client c: expected rows of split test, got none. Leave it out (perplexity.clients=[a]), or choose another split (perplexity.split=…)."],
    ["a client that does not exist", { clients: ["d"] }, "perplexity.clients: expected clients of rows.jsonl: a, b, c, got `d`. Did you mean `a`?"],
    ["a split that does not exist", { split: "tset" }, "rows.jsonl: expected rows whose `split` is tset, got test, train. Set perplexity.split to one of them."],
    ["more tokens than the model knows", { max_tokens: 513 }, "perplexity.max_tokens: expected at most 512, the longest text that the model knows beside its adapter's tokens, got 513. Set perplexity.max_tokens=512."],
    ["a setting that does not exist", { categroy: "kind" }, "perplexity.categroy: expected a setting of perplexity that exists, got `categroy`. Did you mean `category`?"],
    ["a value that is none of those allowed", { overflow: "cut" }, "perplexity.overflow: expected one of truncate, drop, got `\"cut\"`."],
  ])("%s is refused by name", async (_, changes, message) => {
    await expect(askBenchmark(model, { name: "perplexity", settings: { ...settings, ...changes } }, inFolder)).rejects.toThrow(expect.objectContaining({ message }));
  });
});

describe("an evaluation is refused", () => {
  const run = (request: BenchmarkRequest): Promise<BenchmarkResult> => askBenchmark(model, request, inFolder);

  test("for an unknown benchmark, with the nearest name", async () => {
    await expect(run({ name: "gms8k" })).rejects.toMatchObject({ code: "config", message: expect.stringMatching(/^benchmark: expected one of perplexity, .*, got `gms8k`\. Did you mean `gsm8k`\?$/) });
  });

  test("for files that are not there, saying where they are looked for", async () => {
    await expect(run({ name: "mmlu" })).rejects.toMatchObject({ code: "data", message: expect.stringMatching(/^data set mmlu: expected the file mmlu\/mmlu\.jsonl in the folder of FEDTUNE_DATA, got no folder \(FEDTUNE_DATA is not set\)\. It cannot be fetched/) });
  });

  test("for a file whose hash differs from the published one", async () => {
    onTestFinished(() => void delete process.env["FEDTUNE_DATA"]);
    mkdirSync(join(folder, "mmlu"));
    writeFileSync(join(folder, "mmlu", "mmlu.jsonl"), `{"subject":"anatomy","split":"test","question":"?","choices":["a","b","c","d"],"answer":0}\n`);
    process.env["FEDTUNE_DATA"] = folder;
    await expect(run({ name: "mmlu" })).rejects.toMatchObject({ code: "data", message: expect.stringMatching(/^data set mmlu: .*mmlu\.jsonl: expected the SHA-256 /) });
  });

  test("for demonstrations that do not fit the context, with the number that does", async () => {
    writeRows("gsm.jsonl", [{ question: "How many?", answer: "One.\n#### 1" }]);
    writeRows("cot.jsonl", Array.from({ length: 8 }, (_, i) => ({ question: `There was a little girl who had ${i} big red balls. How many?`, target: `She had ${i} balls. The answer is ${i}.` })));
    const settings = { path: "gsm.jsonl", demonstrations: "cot.jsonl" };
    const failed = run({ name: "gsm8k", settings });
    await expect(failed).rejects.toMatchObject({ code: "config", message: expect.stringMatching(/^gsm8k, test\/0: expected prompts with 8 demonstrations within the model's 512 tokens, 256 of them for the answer, got \d+ tokens of prompt\. Set gsm8k\.shots=\d, which fits every question, or gsm8k\.overflow=drop-shots\.$/) });
    const fitting = /shots=(\d)/.exec(await failed.catch((error: Error) => error.message) as string)?.[1];
    expect((await run({ name: "gsm8k", settings: { ...settings, shots: Number(fitting) } })).asked).toBe(1);
    await expect(run({ name: "gsm8k", settings: { ...settings, shots: Number(fitting) + 1 } })).rejects.toMatchObject({ code: "config" });
    expect((await run({ name: "gsm8k", settings: { ...settings, compat: "fsllm" } })).asked).toBe(1);
    expect(String(answers("gsm8k")[0]?.["prompt"]).match(/Q:/g)).toHaveLength(Number(fitting) + 1);
  });

  test("for an adapter of another model", async () => {
    const other = join(folder, "other");
    writeTinyLlama(other);
    const settings = adapterSchema.parse({ method: "lora", r: 2 });
    const otherModel = await openArchitecture(other);
    const bound = bindAdapter(settings, otherModel);
    writeAdapterFolder(join(folder, "adapter"), { settings, model: otherModel, baseModel: other, parameters: randomAdapter(bound.parameters), frozen: new Map() });
    await expect(evaluate({ model: MODEL, adapter: join(folder, "adapter"), benchmarks: [{ name: "multiple-choice", settings: { path: "quiz.jsonl" } }], baseFolder: folder })).rejects.toMatchObject({ code: "model", message: expect.stringMatching(/The adapter belongs to another model or other settings\.$/) });
  });

  test("for malformed rows, naming file and line", async () => {
    writeRows("bad.jsonl", [{ question: "a", choices: ["x", "y"], answer: 0 }, { question: "b", choices: ["x", "y"], answer: "C" }]);
    await expect(run({ name: "multiple-choice", settings: { path: "bad.jsonl" } })).rejects.toMatchObject({ code: "data", message: expect.stringMatching(/^bad\.jsonl:2: expected an answer that is one of the 2 choices.*got "C"\./) });
  });
});

test("an adapter changes what is found", async () => {
  const settings = adapterSchema.parse({ method: "prompt", num_virtual_tokens: 3 });
  const base = await openArchitecture(MODEL);
  writeAdapterFolder(join(folder, "prompt"), { settings, model: base, baseModel: MODEL, parameters: randomAdapter(bindAdapter(settings, base).parameters), frozen: new Map() });
  const request = { name: "perplexity", settings: { path: "rows.jsonl", max_tokens: 200 } };
  const off = await askBenchmark(model, request, inFolder);
  const [on] = await evaluate({ model: MODEL, adapter: join(folder, "prompt"), benchmarks: [request], baseFolder: folder });
  expect(on?.figures.map(({ group, questions }) => [group, questions])).toEqual(off.figures.map(({ group, questions }) => [group, questions]));
  expect(on?.figures[0]?.value).not.toBeCloseTo(must(off.figures[0], "figure").value, 1);
  // Virtual tokens take room.
  await expect(evaluate({ model: MODEL, adapter: join(folder, "prompt"), benchmarks: [{ ...request, settings: { ...request.settings, max_tokens: 510 } }], baseFolder: folder })).rejects.toThrow("expected at most 509");
});
