import fc from "fast-check";
import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { loadTokenizer } from "../text/tokenizer.ts";
import type { ChoiceQuestion, Prompt } from "./benchmark.ts";
import { commonLength, encodeText, fitShots, GroupEncoder, groupByShared, type PromptContext } from "./prompts.ts";

const tokenizer = loadTokenizer("assets/stories260k");
const context: PromptContext = { tokenizer, contextTokens: 512, bos: "always", benchmark: "quiz" };

const question = (id: string, prompt: Partial<Prompt>): ChoiceQuestion => ({
  kind: "choice", id, facts: {}, choices: [" yes", " no"], judge: () => ({ parsed: null, scores: {} }),
  prompt: { header: "Answer.\n", shots: [], own: "Is it so?", overflow: "error", ...prompt },
});
const SHOTS = Array.from({ length: 5 }, (_, i) => `Once upon a time number ${i} there was a little girl. yes\n\n`);

describe("demonstrations", () => {
  test("all stay where they fit", () => {
    const all = [question("a", { shots: SHOTS })];
    expect(fitShots(all, context)).toEqual(all);
  });

  test("where they do not fit, the error says how many fit every question", () => {
    const lengthOf = (shots: number, own: string): number => encodeText(`Answer.\n${SHOTS.slice(0, shots).join("")}${own}`, context).length;
    // Room for three before the short question, two before the long one; each choice has two tokens.
    const long = "Is it so, or is it so, or is it so? Is it so?";
    const choiceTokens = Math.max(...[" yes", " no"].map((c) => tokenizer.encode(c, { addSpecialTokens: false }).length));
    const contextTokens = lengthOf(3, "Is it so?") + choiceTokens;
    expect(lengthOf(3, long) + choiceTokens).toBeGreaterThan(contextTokens);
    expect(lengthOf(2, long) + choiceTokens).toBeLessThanOrEqual(contextTokens);
    const both = [question("short", { shots: SHOTS }), question("long", { shots: SHOTS, own: long })];
    expect(() => fitShots(both, { ...context, contextTokens })).toThrow(expect.objectContaining({
      code: "config",
      message: `quiz, short: expected prompts with 5 demonstrations within the model's ${contextTokens} tokens, ${choiceTokens} of them for the answer, got ${lengthOf(5, "Is it so?")} tokens of prompt. Set quiz.shots=2, which fits every question, or quiz.overflow=drop-shots.`,
    }));
    const dropped = fitShots(both.map((q) => ({ ...q, prompt: { ...q.prompt, overflow: "drop-shots" as const } })), { ...context, contextTokens });
    expect(dropped.map(({ prompt }) => prompt.shots)).toEqual([SHOTS.slice(0, 3), SHOTS.slice(0, 2)]);
  });

  test("are dropped beyond a limit of the question's own too, and without them it may be longer", () => {
    const asked = (limit: Prompt["limit"], overflow: Prompt["overflow"] = "error") => fitShots([question("a", { shots: SHOTS, overflow, ...(limit && { limit }) })], context)[0]?.prompt.shots.length;
    const text = (shots: number): string => `Answer.\n${SHOTS.slice(0, shots).join("")}Is it so?`;
    expect(asked({ most: text(3).length, unit: "characters" })).toBe(3);
    expect(asked({ most: text(3).length - 1, unit: "characters" }, "drop-shots")).toBe(2);
    expect(asked({ most: encodeText(text(4), context).length, unit: "tokens" })).toBe(4);
    expect(asked({ most: encodeText(text(4), context).length - 1, unit: "tokens" })).toBe(3);
    expect(asked({ most: 1, unit: "tokens" })).toBe(0);
  });

  test("where not even the question fits, no number of them is offered", () => {
    const run = (): unknown => fitShots([question("a", { shots: SHOTS, overflow: "drop-shots" })], { ...context, contextTokens: 6 });
    expect(run).toThrow(/^quiz, a: expected prompts with 5 demonstrations within the model's 6 tokens.*Take a model of a longer context, or leave the question out\.$/);
  });
});

test("a bos goes first once, or only where the tokenizer adds one", () => {
  const ids = [...encodeText("Once", context)];
  expect(ids[0]).toBe(tokenizer.bosId);
  expect(ids.filter((id) => id === tokenizer.bosId)).toHaveLength(1);
  const bare = { ...tokenizer, addsBos: false };
  expect([...encodeText("Once", { tokenizer: bare, bos: "as-tokenizer" })]).toEqual(ids.slice(1));
  expect([...encodeText("Once", { tokenizer: bare, bos: "always" })]).toEqual(ids);
});

test("what sequences have in common leaves each a token of its own", () => {
  expect(commonLength([[1, 2, 3], [1, 2, 4], [1, 2, 3, 5]])).toBe(2);
  expect(commonLength([[1, 2, 3]])).toBe(2);
  expect(commonLength([[1, 2], [1, 2]])).toBe(1);
  expect(commonLength([])).toBe(0);
  fc.assert(fc.property(fc.array(fc.array(fc.nat(2), { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 5 }), (sequences) => {
    const n = commonLength(sequences);
    expect(sequences.every((ids) => ids.length > n && ids.slice(0, n).every((id, i) => id === sequences[0]?.[i]))).toBe(true);
    expect(sequences.every((ids) => ids.length > n + 1 && ids[n] === sequences[0]?.[n])).toBe(false);
  }));
});

describe("texts of one beginning are encoded as if whole", () => {
  const RESTS = ["Find all c.", "\nA. one", " 12 eggs", "", "…what?", "A", "  two spaces"];
  const BEGINNINGS = ["Q: How many?\nA: The answer is 6.\n\n", "One two three", "none-of-them\n\n", "ends with a space ", ""];
  const shared = "../shared/models/minimind2-small";
  test.each([["a tokenizer of sentence pieces", "assets/stories260k"], ["one of bytes (../shared)", shared]])("%s", (_, path) => {
    if (!existsSync(path)) return;
    const own = { tokenizer: loadTokenizer(path), bos: "always" } as const;
    for (const beginning of BEGINNINGS) {
      const encoder = new GroupEncoder(beginning, own);
      for (const rest of RESTS) expect([beginning, rest, ...encoder.encode(rest)]).toEqual([beginning, rest, ...encodeText(beginning + rest, own)]);
    }
  });

  test("and the beginning is encoded once where it may be", () => {
    let letters = 0;
    const counting = { ...tokenizer, encode: (text: string) => (letters += text.length, Int32Array.from(text, (c) => c.codePointAt(0) ?? 0)) };
    const encoder = new GroupEncoder("a long beginning of words", { tokenizer: { ...counting }, bos: "always" });
    for (const rest of ["x", "y"]) encoder.encode(rest);
    letters = 0;
    encoder.encode("z");
    expect(letters).toBe(" wordsz".length);
  });
});

test("questions are grouped by what they begin with, those alone together", () => {
  const [a, b, c, d] = ["x", "y", "x", "z"].map((shot, i) => question(`${i}`, { shots: [shot] }));
  expect(groupByShared([a, b, c, d].flatMap((q) => q ?? []), context).map(({ questions }) => questions.map(({ id }) => id))).toEqual([["0", "2"], ["1", "3"]]);
});
