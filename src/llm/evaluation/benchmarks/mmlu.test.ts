import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryFolder } from "../../../../test/support/tiny-training.ts";
import { CASES, goldenSchema } from "../../../../tools/evaluation/cases.ts";
import { must } from "../../../core/base/errors.ts";
import { loadTokenizer } from "../../text/tokenizer.ts";
import type { BenchmarkContext, ChoiceQuestion } from "../benchmark.ts";
import { askBenchmark } from "../evaluate.ts";
import { openJudgedModel } from "../open-model.ts";
import { CATEGORIES, SUBJECTS } from "./mmlu-subjects.ts";
import { mmlu } from "./mmlu.ts";

const folder = temporaryFolder();
const context: BenchmarkContext = { tokenizer: loadTokenizer("assets/stories260k"), contextTokens: 512, baseFolder: folder, seed: 0 };

const ROWS = [
  { subject: "college_physics", split: "test", question: "What is light?", choices: ["a wave", "a sound", "a stone", "a colour"], answer: 0 },
  { subject: "college_physics", split: "dev", question: "What falls?", choices: ["up", "an apple", "a bird", "the sky"], answer: 1 },
  { subject: "college_physics", split: "dev", question: "What is heavy?", choices: ["air", "a feather", "lead", "a thought"], answer: 2 },
  { subject: "astrology", split: "test", question: "Who rules?", choices: ["Mars", "Venus", "none", "all"], answer: 3 },
  { subject: "astrology", split: "dev", question: "What sign?", choices: ["A", "B", "C", "D"], answer: 3 },
];
writeFileSync(join(folder, "mmlu.jsonl"), ROWS.map((row) => JSON.stringify(row)).join("\n"));

async function open(settings: Readonly<Record<string, unknown>>) {
  const opened = await mmlu.open(mmlu.schema.parse({ path: "mmlu.jsonl", ...settings }), context);
  return { ...opened, questions: opened.questions.filter((question): question is ChoiceQuestion => question.kind === "choice") };
}

test("every subject has a subcategory, and every subcategory a category", () => {
  expect(Object.keys(SUBJECTS)).toHaveLength(57);
  const known = Object.values(CATEGORIES).flat();
  expect(new Set(Object.values(SUBJECTS))).toEqual(new Set(known));
  expect([Object.keys(CATEGORIES).length, known.length, new Set(known).size]).toEqual([4, 17, 17]);
});

test("a question stands after demonstrations of its own subject", async () => {
  const { questions: [first, second] } = await open({ shots: 1 });
  expect(first?.prompt).toEqual({
    header: "The following are multiple choice questions (with answers) about college physics.\n\n",
    shots: ["What falls?\nA. up\nB. an apple\nC. a bird\nD. the sky\nAnswer: B\n\n"],
    own: "What is light?\nA. a wave\nB. a sound\nC. a stone\nD. a colour\nAnswer:",
    overflow: "error",
  });
  expect(first?.choices).toEqual([" A", " B", " C", " D"]);
  expect(first?.facts).toEqual({ category: "STEM", subcategory: "physics", subject: "college_physics", gold: "A" });
  expect(second?.prompt.shots).toEqual(["What sign?\nA. A\nB. B\nC. C\nD. D\nAnswer: D\n\n"]);
  expect(second?.facts).toMatchObject({ category: null, subcategory: null });
});

test("under compat: fsllm the header has the reference's spaces, prompts have 1,024 tokens at most, and letters are tokens by themselves", async () => {
  const { questions: [first] } = await open({ shots: 1, compat: "fsllm" });
  expect(first?.prompt.header).toBe("The following are multiple choice         questions (with answers) about  college physics.\n\n");
  expect(first?.prompt).toMatchObject({ overflow: "drop-shots", limit: { most: 1024, unit: "tokens" } });
  expect(first).toMatchObject({ choices: ["A", "B", "C", "D"], scoring: "last-token" });
});

test("the likeliest letter is taken, the first of equals", async () => {
  const { questions: [question], figures } = await open({ shots: 0 });
  const judge = (...scores: readonly number[]) => must(question, "question").judge(scores.map((logLikelihood) => ({ logLikelihood, tokens: 1 })));
  expect(judge(-3, -2, -5, -2)).toEqual({ parsed: "B", scores: { correct: 0 } });
  expect(judge(-1, -2, -5, -1)).toEqual({ parsed: "A", scores: { correct: 1 } });
  const judged = [{ id: "a", facts: { category: "STEM", subcategory: "physics", subject: "college_physics" }, judgement: judge(-1, -2, -3, -4) }, { id: "b", facts: { category: null, subcategory: null, subject: "astrology" }, judgement: judge(-2, -1, -3, -4) }];
  expect(figures(judged).map(({ group, value }) => [group?.kind, group?.name, value])).toEqual([[undefined, undefined, 0.5], ["category", "STEM", 1], ["subcategory", "physics", 1], ["subject", "astrology", 0], ["subject", "college_physics", 1]]);
});

test.each([
  ["a subject without enough demonstrations", { shots: 2, subjects: ["astrology"] }, "mmlu.jsonl:4: expected 2 rows of split dev for the subject astrology, got 1. Set mmlu.shots=1."],
  ["a subject that does not exist", { shots: 0, subjects: ["physics"] }, "mmlu.subjects: expected subjects of the file, got `physics`. Known there: college_physics, astrology."],
])("%s is refused by name", async (_, settings, message) => {
  await expect(open(settings)).rejects.toThrow(expect.objectContaining({ message }));
});

const SHARED = resolve("../shared");
const GOLDEN = "test/goldens/evaluation.json";

describe.skipIf(!existsSync(join(SHARED, "models/minimind2-small")))("minimind2-small (../shared)", () => {
  test.each(CASES)("on $benchmark is what transformers recorded, question by question", async (one) => {
    process.env["FEDTUNE_DATA"] = join(SHARED, "data");
    const golden = goldenSchema.parse(JSON.parse(readFileSync(GOLDEN, "utf8")))[one.benchmark];
    await using model = await openJudgedModel({ model: join(SHARED, "models/minimind2-small") });
    const { answers } = await askBenchmark(model, { name: one.benchmark, settings: one.settings(SHARED) }, { limit: one.limit, out: folder });
    const lines = readFileSync(must(answers, "answers"), "utf8").trimEnd().split("\n").map((line) => JSON.parse(line) as { id: string; parsed: unknown; outputs: { logLikelihood: number }[]; scores: Record<string, number> });
    expect(lines.map(({ id }) => one.witnessId(id))).toEqual(golden.results.map(({ id }) => id));
    let [own, wanted, tokens] = [0, 0, 0];
    for (const [i, said] of golden.results.entries()) {
      const line = must(lines[i], said.id);
      if (said.letter !== undefined) expect([said.id, line.parsed]).toEqual([said.id, said.letter]);
      for (const [c, score] of (said.scores ?? []).entries()) expect(Math.abs(score - (line.outputs[c]?.logLikelihood ?? NaN))).toBeLessThan(1e-4);
      if (said.tokens !== undefined) expect(line.scores["tokens"]).toBe(said.tokens);
      own += line.scores["nll"] ?? 0;
      wanted += said.nll ?? 0;
      tokens += said.tokens ?? 0;
    }
    if (tokens > 0) expect(Math.abs(own - wanted) / tokens).toBeLessThan(1e-4);
    expect(lines).toHaveLength(one.limit);
  }, 600_000);
});
