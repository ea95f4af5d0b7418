import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { goldOf } from "./benchmarks/gsm8k.ts";
import { equalNumbers, finalNumber, finalNumberText } from "./final-number.ts";

/** Worked answers, and the number that each ends in. */
const ANSWERS: readonly (readonly [string, number | undefined])[] = [
  // plain
  ["There are 15 trees. 21 - 15 = 6. The answer is 6.", 6],
  ["The answer is 6", 6],
  ["the answer is 6.", 6],
  ["THE ANSWER IS 6!", 6],
  ["The answer is: 6", 6],
  ["The answer is **6**.", 6],
  ["The final answer is 6.", 6],
  ["Final answer: 6", 6],
  ["So he has 6.\n#### 6", 6],
  ["<<21-15=6>>6 trees.\n#### 6", 6],
  ["The answer is \\boxed{42}.", 42],
  ["Thus $\\boxed{42}$", 42],
  // currency
  ["The answer is $18.", 18],
  ["The answer is $ 18.", 18],
  ["The answer is \\$18.", 18],
  ["The answer is 18$.", 18],
  ["The answer is €18.", 18],
  ["The answer is £1,200.", 1200],
  ["The answer is USD 18.", 18],
  ["The answer is US$18.", 18],
  ["The answer is Rs. 250.", 250],
  ["She makes $18 every day", 18],
  // units
  ["The answer is 18 dollars.", 18],
  ["The answer is 5km.", 5],
  ["The answer is 5 km/h.", 5],
  ["The answer is 25%.", 25],
  ["The answer is 90 degrees, a right angle.", 90],
  ["The answer is 12 eggs per day.", 12],
  ["It takes 3 hours", 3],
  ["The answer is 20 m2.", 20],
  // decimals
  ["The answer is 18.0.", 18],
  ["The answer is 18.00", 18],
  ["The answer is 18.50 dollars.", 18.5],
  ["The answer is .5", 0.5],
  ["The answer is 0.25.", 0.25],
  ["The answer is $1,234.56.", 1234.56],
  // negatives
  ["The answer is -5.", -5],
  ["The answer is −5.", -5],
  ["The answer is -$5.", -5],
  ["The answer is $-5.", -5],
  ["The answer is negative 5.", -5],
  ["That leaves 10-15", 15],
  ["He lost money: 10 - 15 = -5", -5],
  ["The temperature fell to (-7) degrees", -7],
  // thousands
  ["The answer is 1,234.", 1234],
  ["The answer is 1,234,567 people.", 1234567],
  ["The answer is 70000.", 70000],
  ["He bought 3, 4 and 5", 5],
  ["The numbers are 10,20", 20],
  // fractions
  ["The answer is 1/2.", 0.5],
  ["The answer is 2 1/2 cups.", 2.5],
  ["The answer is \\frac{3}{4}.", 0.75],
  // several answers
  ["The answer is 5. The answer is 6.", 5],
  ["The answer is 12, not 13.", 12],
  ["The answer is 5 * 3 = 15.", 15],
  ["The answer is 2 + 3 = 5 apples.", 5],
  ["The answer is x = 7.", 7],
  ["The answer is the sum of both.\nThat is 12 + 8 = 20.", 12],
  ["First 3, then 4, in all 7 apples", 7],
  // text after a next question
  ["The answer is 8.\n\nQ: If there are 3 cars, how many wheels?\nA: The answer is 12.", 8],
  ["He has 8 left.\n\nQ: There are 100 birds.", 8],
  ["He has 8 left.\nQuestion: There are 100 birds.", 8],
  ["He has 8 left.\n\n**Question 2:** There are 100 birds.", 8],
  ["He has 8 left.\n\n### Instruction:\nWrite 100 words.", 8],
  ["The answer is...5", 5],
  // none
  ["", undefined],
  ["I do not know.", undefined],
  ["The answer is unknown.", undefined],
  ["Water is H2O", undefined],
  ["\n\nQ: There are 100 birds.", undefined],
  // the words stand before any number, but only a later line has one
  ["The answer is\n\n14", 14],
  ["The answer is twelve. So 12.", 12],
  ["We get 14, so the answer is clear.", 14],
];

describe("the number of a worked answer", () => {
  test("has a table of at least 60 answers", () => expect(ANSWERS.length).toBeGreaterThanOrEqual(60));
  test.each(ANSWERS)("%j is %s", (answer, number) => expect(finalNumber(answer)).toBe(number));
});

test("numbers are equal by value, not as they are written", () => {
  expect(equalNumbers(18, 18.0)).toBe(true);
  expect(equalNumbers(1 / 3, 0.333333333333)).toBe(true);
  expect(equalNumbers(18, 18.001)).toBe(false);
});

test.each([
  ["The answer is 18.0.", "18.0"],
  ["The answer is $1,234.", "1234"],
  ["10-15", "-15"],
  ["He has 8 left.\n\nQ: There are 100 birds.", "100"],
  ["so THE ANSWER IS 7. The answer is 9.", "7"],
  ["none", undefined],
])("the reference reads %j as the text %s", (answer, said) => expect(finalNumberText(answer)).toBe(said));

const TEST_FILE = "../shared/data/gsm8k/test.jsonl";
test.skipIf(!existsSync(TEST_FILE))(`all 1,319 right answers of ${TEST_FILE} parse, and worked answers end in them`, () => {
  const rows = readFileSync(TEST_FILE, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line) as { readonly answer: string });
  expect(rows).toHaveLength(1319);
  for (const { answer } of rows) {
    const said = /#### (.*)$/.exec(answer)?.[1]?.replaceAll(",", "");
    expect(goldOf(answer)).toEqual({ text: said, value: Number(said) });
    // The same in the words that models are taught.
    expect(finalNumber(answer.replace("####", "The answer is"))).toBe(Number(said));
  }
});
