/** Benchmarks in own words and code match: their prompts, and how they judge what comes back. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { temporaryFolder } from "../../../../test/support/tiny-training.ts";
import { must } from "../../../core/base/errors.ts";
import { loadTokenizer } from "../../text/tokenizer.ts";
import type { BenchmarkContext, ChoiceQuestion, WrittenQuestion } from "../benchmark.ts";
import { codeMatch } from "./code-match.ts";
import { gsm8k } from "./gsm8k.ts";
import { rougeL } from "./rouge-l.ts";

const folder = temporaryFolder();
const context: BenchmarkContext = { tokenizer: loadTokenizer("assets/stories260k"), contextTokens: 2048, baseFolder: folder, seed: 5 };
const signal = new AbortController().signal;
const write = (name: string, rows: readonly unknown[]): void => writeFileSync(join(folder, name), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));

describe("gsm8k", () => {
  beforeAll(() => {
    write("test.jsonl", [{ question: "How many eggs?", answer: "2 * 9 = <<2*9=18>>18\n#### 1,018" }, { question: "How cold?", answer: "#### -5" }, { question: "How much?", answer: "#### 2.5" }]);
    write("shots.jsonl", Array.from({ length: 8 }, (_, i) => ({ question: `Q${i}?`, target: `The answer is ${i}.` })));
  });
  async function open(settings: Readonly<Record<string, unknown>>, seed = 5) {
    const { questions, figures } = await gsm8k.open(gsm8k.schema.parse({ path: "test.jsonl", demonstrations: "shots.jsonl", ...settings }), { ...context, seed });
    return { questions: questions.filter((question): question is WrittenQuestion => question.kind === "written"), figures };
  }
  const judge = async (question: WrittenQuestion | undefined, text: string) => must(question, "question").judge([{ text, newTokens: 3, endedBy: "stop" }], { signal });

  test("asks after worked questions, and stops at a next one", async () => {
    const { questions: [first] } = await open({ shots: 2 });
    expect(first?.prompt).toEqual({ header: "", shots: ["Q: Q0?\nA: The answer is 0.\n\n", "Q: Q1?\nA: The answer is 1.\n\n"], own: "Q: How many eggs?\nA:", overflow: "error" });
    expect(first?.sampling).toEqual({ maxNewTokens: 256, temperature: 0, topK: 0, topP: 1, stop: ["\nQ:", "\nQuestion:"] });
    expect(first?.facts).toEqual({ gold: 1018 });
  });

  test("compares numbers by value", async () => {
    const { questions: [eggs, cold, much] } = await open({});
    expect(await judge(eggs, " She has $1,018.00 left.")).toEqual({ parsed: 1018, scores: { correct: 1 } });
    expect(await judge(eggs, " The answer is 18.")).toEqual({ parsed: 18, scores: { correct: 0 } });
    expect(await judge(cold, " The answer is -5 degrees.")).toEqual({ parsed: -5, scores: { correct: 1 } });
    expect(await judge(much, " The answer is 5/2.")).toEqual({ parsed: 2.5, scores: { correct: 1 } });
    expect(await judge(much, " I do not know.")).toEqual({ parsed: null, scores: { correct: 0 } });
  });

  test("under compat: fsllm shuffles demonstrations for each question, never stops, and compares texts", async () => {
    const { questions } = await open({ compat: "fsllm" });
    const orders = questions.map(({ prompt }) => prompt.shots.join(""));
    expect(new Set(orders).size).toBe(3);
    for (const { prompt, sampling } of questions) {
      expect([...prompt.shots].sort()).toEqual(Array.from({ length: 8 }, (_, i) => `Q: Q${i}?\nA: The answer is ${i}.\n\n`));
      expect([sampling.stop, prompt.overflow]).toEqual([[], "drop-shots"]);
    }
    expect((await open({ compat: "fsllm" })).questions.map(({ prompt }) => prompt.shots.join(""))).toEqual(orders);
    expect((await open({ compat: "fsllm" }, 6)).questions.map(({ prompt }) => prompt.shots.join(""))).not.toEqual(orders);
    expect(await judge(questions[0], " The answer is 1018.")).toEqual({ parsed: "1018", scores: { correct: 1 } });
    expect(await judge(questions[0], " The answer is 1018.0.")).toEqual({ parsed: "1018.0", scores: { correct: 0 } });
  });

  test("refuses a row without a right answer, and fewer demonstrations than asked for", async () => {
    write("bad.jsonl", [{ question: "a", answer: "#### 1" }, { question: "b", answer: "none" }]);
    await expect(open({ path: "bad.jsonl" })).rejects.toThrow(/bad\.jsonl:2: expected an answer that ends in `#### number`, got "none"\./);
    write("few.jsonl", [{ question: "a", target: "b" }]);
    await expect(open({ demonstrations: "few.jsonl" })).rejects.toThrow("gsm8k.demonstrations: expected 8 rows, got 1. Set gsm8k.shots=1.");
  });
});

describe("rouge-l", () => {
  test("asks under the template of training, and leaves out prompts that are too long", async () => {
    write("rows.jsonl", [{ instruction: "Say hello", input: "to Tom", output: "hello Tom" }, { instruction: "x ".repeat(600), output: "y" }]);
    const { questions, notes } = await rougeL.open(rougeL.schema.parse({ path: "rows.jsonl" }), context);
    const [question] = questions.filter((q): q is WrittenQuestion => q.kind === "written");
    expect(questions).toHaveLength(1);
    expect(question?.prompt.own).toMatch(/^Below is .*### Input:\nto Tom\n\n### Response:$/s);
    expect(notes?.()).toEqual(["1 row is left out: a prompt of more than 512 tokens"]);
    expect(await must(question, "question").judge([{ text: " Hello, dear Tom!", newTokens: 4, endedBy: "end-token" }], { signal })).toEqual({ parsed: "Hello, dear Tom!", scores: { f1: expect.closeTo(0.8, 12), precision: expect.closeTo(2 / 3, 12), recall: 1 } });
  });
});

describe("code-match", () => {
  const ROWS = Array.from({ length: 6 }, (_, i) => ({ idx: `cosqa-train-${[0, 9, 2, 18, 4, 7][i] ?? ""}`, doc: `doc ${i}`, code: `code ${i}`, label: i % 2 }));
  beforeAll(() => write("pairs.jsonl", ROWS));
  async function open(settings: Readonly<Record<string, unknown>>) {
    const { questions, figures } = await codeMatch.open(codeMatch.schema.parse({ path: "pairs.jsonl", ...settings }), context);
    return { questions: questions.filter((question): question is ChoiceQuestion => question.kind === "choice"), figures };
  }

  test("asks for the likelier digit", async () => {
    const { questions: [no, yes] } = await open({ shots: 1 });
    expect(no?.prompt).toMatchObject({ header: expect.stringMatching(/^Input: a piece of code .*\n\n$/), shots: [expect.stringMatching(/^Document: python sum .*\nScore: 1\n\n$/s)], own: "Document: doc 0\nCode: code 0\nScore:" });
    expect(no?.choices).toEqual([" 0", " 1"]);
    const scored = [{ logLikelihood: -2, tokens: 1 }, { logLikelihood: -1, tokens: 1 }];
    expect([no?.judge(scored), yes?.judge(scored)]).toEqual([{ parsed: 1, scores: { correct: 0 } }, { parsed: 1, scores: { correct: 1 } }]);
    expect(yes?.judge(scored.toReversed())).toEqual({ parsed: 0, scores: { correct: 0 } });
  });

  test("shuffled pairs ask every document with its own code and with another's", async () => {
    const { questions } = await open({ pairs: "shuffled" });
    const asked = questions.map(({ prompt, facts }) => [.../doc (\d)\nCode: code (\d)/.exec(prompt.own) ?? []].slice(1).concat(JSON.stringify(facts["gold"])));
    expect(asked).toHaveLength(12);
    for (const [doc, code, gold] of asked) expect(gold).toBe(doc === code ? "1" : "0");
    expect(new Set(asked.filter(([, , gold]) => gold === "0").map(([, code]) => code)).size).toBe(6);
  });

  test("under compat: fsllm takes the reference's demonstrations from the file that has them", async () => {
    const { questions: [first, second] } = await open({ compat: "fsllm", demonstrations: "pairs.jsonl" });
    const shown = (question: ChoiceQuestion | undefined): (string | undefined)[] => question?.prompt.shots.map((shot) => /doc (\d)/.exec(shot)?.[1]) ?? [];
    expect(new Set(shown(first))).toEqual(new Set(["0", "1", "2", "3", "4"]));
    expect(shown(first)).not.toEqual(shown(second));
    expect(first).toMatchObject({ prompt: { own: "Document: doc 0\nCode: code 0\nScore: ", limit: { most: 1024, unit: "characters" } }, choices: ["0", "1"], scoring: "last-token" });
    write("languages.jsonl", [{ doc: "a", code: "b", label: 1, category: "go" }]);
    const { questions: [go] } = await open({ compat: "fsllm", path: "languages.jsonl", category: "category", header: "Mine.\n" });
    expect(go?.prompt).toMatchObject({ header: "Mine.\n", own: "Document:go a\nCode: b\nScore: " });
  });

  test("a label that is no digit is refused with its line", async () => {
    write("odd.jsonl", [{ doc: "a", code: "b", label: 2 }]);
    await expect(open({ path: "odd.jsonl" })).rejects.toThrow(/^odd\.jsonl:1: expected a field `label`: expected 0 or 1, got the number 2\. Mend or remove the row\.$/);
  });
});
