import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../../../test/support/tiny-training.ts";
import { must } from "../../../core/base/errors.ts";
import { sha256 } from "../../../core/base/hash.ts";
import { loadTokenizer } from "../../text/tokenizer.ts";
import type { BenchmarkContext, ChoiceQuestion } from "../benchmark.ts";
import { responseChoice } from "./response-choice.ts";

const folder = temporaryFolder();
const context: BenchmarkContext = { tokenizer: loadTokenizer("assets/stories260k"), contextTokens: 512, baseFolder: folder, seed: 5 };
const write = (name: string, rows: readonly unknown[]): void => writeFileSync(join(folder, name), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));

async function open(settings: Readonly<Record<string, unknown>>, changes: Partial<BenchmarkContext> = {}) {
  const { questions, ...opened } = await responseChoice.open(responseChoice.schema.parse({ path: "rows.jsonl", ...settings }), { ...context, ...changes });
  return { ...opened, questions: questions.filter((question): question is ChoiceQuestion => question.kind === "choice") };
}

/** What a model answers that gives each choice a log-likelihood by its text alone. */
const answer = (question: ChoiceQuestion, likelihood: (text: string) => number) => question.judge(question.choices.map((text) => ({ logLikelihood: likelihood(text), tokens: text.split(" ").length })));

const KINDS = ["ask", "ask", "tell", "ask", "tell", "ask"];
const ROWS = ["red", "blue", "one two", "green", "three", "blue"].map((output, i) => ({ instruction: `Task ${i}`, output, client: i < 4 ? "a" : "b", kind: KINDS[i] }));

test("asks for the row's own response among those of other rows, each text once", async () => {
  write("rows.jsonl", ROWS);
  const { questions } = await open({ distractors: 2 });
  expect(questions).toHaveLength(6);
  for (const [i, { prompt, choices, facts, id }] of questions.entries()) {
    expect(id).toBe(`rows.jsonl:${i + 1}`);
    expect(prompt).toMatchObject({ header: "", shots: [], own: expect.stringMatching(new RegExp(`### Instruction:\nTask ${i}\n\n### Response:$`)) });
    expect(choices[Number(facts["gold"])]).toBe(ROWS[i]?.output);
    expect(new Set(choices).size).toBe(3);
    for (const [c, from] of (facts["rows"] as string[]).entries()) expect(choices[c]).toBe(ROWS[Number(from.split(":")[1]) - 1]?.output);
  }
});

test("the largest log-likelihood by length wins, and figures count right answers by client and category", async () => {
  write("rows.jsonl", ROWS);
  const { questions, figures } = await open({ distractors: 2, category: "kind" });
  const long = must(questions[2], "question");
  // Two words at −3 are likelier by token than one at −2.
  expect(answer(long, (text) => (text === "one two" ? -3 : -2)).scores).toEqual({ correct: 1 });
  const { questions: undivided } = await open({ distractors: 2, category: "kind", normalisation: "none" });
  expect(answer(must(undivided[2], "question"), (text) => (text === "one two" ? -3 : -2)).scores).toEqual({ correct: 0 });
  const judged = questions.map((question, i) => ({ id: question.id, facts: question.facts, judgement: answer(question, (text) => ((text === ROWS[i]?.output) === i < 3 ? -1 : -9)) }));
  expect(figures(judged).map(({ name, group, value, questions: n, interval }) => [name, group?.kind, group?.name, value, n, interval])).toEqual([
    ["accuracy", undefined, undefined, 0.5, 6, "wilson"],
    ["accuracy", "client", "a", 0.75, 4, "wilson"],
    ["accuracy", "client", "b", 0, 2, "wilson"],
    ["accuracy", "kind", "ask", 0.5, 4, "wilson"],
    ["accuracy", "kind", "tell", 0.5, 2, "wilson"],
  ]);
});

test("with a category distractors are of it where it has enough, else of all, which is counted", async () => {
  write("rows.jsonl", ROWS);
  const { questions, notes } = await open({ distractors: 2, category: "kind" });
  for (const i of [0, 1, 3, 5]) expect(new Set(questions[i]?.choices)).toEqual(new Set(["red", "blue", "green"]));
  expect(notes?.()).toEqual(["chance is 33.3 %: one of 3 responses is right", "2 rows are of a category with too few others: their distractors are drawn from all rows"]);
});

test("the same rows give the same questions under any seed and wherever the file lies", async () => {
  write("rows.jsonl", ROWS);
  mkdirSync(join(folder, "elsewhere"), { recursive: true });
  write("elsewhere/other.jsonl", ROWS);
  const asked = async (path: string, seed: number) => (await open({ path, distractors: 2 }, { seed })).questions.map(({ choices, facts }) => [choices, facts["gold"]]);
  expect(await asked(join(folder, "elsewhere/other.jsonl"), 6)).toEqual(await asked("rows.jsonl", 5));
});

test("long responses are cut, long prompts and empty responses are left out and counted", async () => {
  write("rows.jsonl", [...ROWS, { instruction: "x ".repeat(600), output: "never" }, { instruction: "nothing", output: " " }, { instruction: "much", output: "Lily saw a bird. ".repeat(40) }]);
  const { questions, notes } = await open({ distractors: 2, max_response_tokens: 8 });
  expect(questions.map(({ id }) => id.split(":")[1])).toEqual(["1", "2", "3", "4", "5", "6", "9"]);
  const texts = new Set(questions.flatMap(({ choices }) => choices));
  for (const text of texts) expect(context.tokenizer.encode(text, { addSpecialTokens: false }).length).toBeLessThanOrEqual(8);
  expect([...texts].filter((text) => text.startsWith("Lily saw"))).toHaveLength(1);
  expect(texts).not.toContain("never");
  expect(notes?.()).toEqual(["chance is 33.3 %: one of 3 responses is right", "1 row is left out: a prompt of more than 504 tokens", "1 row is left out: an empty response"]);
});

test("too few different responses are refused with what to do", async () => {
  write("rows.jsonl", ROWS);
  await expect(open({ distractors: 5 })).rejects.toThrow("rows.jsonl: expected at least 6 rows with different responses, for 5 distractors, got 5. Give more held-out rows, or set response-choice.distractors=4.");
  write("rows.jsonl", ROWS.map((row) => ({ ...row, output: "yes" })));
  await expect(open({})).rejects.toThrow(/for 3 distractors, got 1\. Give more held-out rows\.$/);
});

test("nothing but the prompt tells the right answer: position, use as distractor and every rule on the text alone are at chance", async () => {
  const count = 2000;
  // Lengths of every kind, and a tenth of the rows that all say the same.
  const kinds = ["a", "b", "c"];
  const rows = Array.from({ length: count }, (_, i) => ({ instruction: `Task ${i}`, output: i % 10 === 0 ? "yes" : `${i} ${"word ".repeat((i * 7) % 23)}`, kind: kinds[i % 3] }));
  write("rows.jsonl", rows);
  for (const category of [undefined, "kind"]) {
    const { questions } = await open({ normalisation: "none", ...(category && { category }) });
    const share = (right: (question: ChoiceQuestion) => boolean): number => questions.filter(right).length / count;
    // Four standard deviations of a share of 2,000 at a quarter are 0.039.
    for (const place of [0, 1, 2, 3]) expect(Math.abs(share(({ facts }) => facts["gold"] === place) - 0.25)).toBeLessThan(0.039);
    const rules: readonly ((text: string) => number)[] = [(text) => text.length, (text) => -text.length, (text) => Number.parseInt(sha256(text).slice(0, 8), 16), (text) => -Number.parseInt(text, 10) || 0];
    for (const rule of rules) expect(Math.abs(share((question) => answer(question, rule).scores["correct"] === 1) - 0.25)).toBeLessThan(0.039);
    // Each row is a distractor of three others on average, and of any number as often as a binomial distribution has it: variance about 3.
    const uses = new Map<string, number>();
    for (const { facts } of questions) for (const [c, id] of (facts["rows"] as string[]).entries()) if (c !== facts["gold"]) uses.set(id, (uses.get(id) ?? 0) + 1);
    const long = rows.flatMap((row, i) => (row.output === "yes" ? [] : [uses.get(`rows.jsonl:${i + 1}`) ?? 0]));
    const mean = long.reduce((a, b) => a + b, 0) / long.length;
    expect(Math.abs(mean - 3)).toBeLessThan(0.15);
    const variance = long.reduce((sum, n) => sum + (n - mean) ** 2, 0) / long.length;
    expect(Math.abs(variance - 3)).toBeLessThan(0.5);
  }
});
