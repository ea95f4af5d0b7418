import fc from "fast-check";
import { expect, test } from "vitest";
import { rougeL } from "./rouge.ts";

// Counted by hand.
test.each([
  ["the cat was found under the bed", "the cat was under the bed", 6 / 7, 1],
  ["police kill the gunman", "police killed the gunman", 3 / 4, 3 / 4],
  ["the gunman kill police", "police killed the gunman", 2 / 4, 2 / 4],
  ["A Cat, a DOG!", "a cat a dog", 1, 1],
  ["one two", "three four five", 0, 0],
  ["one", "", 0, 0],
  ["größe ändern 12", "Größe 12", 2 / 3, 1],
])("%j against %j", (answer, reference, precision, recall) => {
  const found = rougeL(answer, reference);
  expect([found.precision, found.recall]).toEqual([precision, recall]);
  expect(found.f1).toBeCloseTo(precision + recall === 0 ? 0 : (2 * precision * recall) / (precision + recall), 12);
});

const words = fc.array(fc.constantFrom("a", "b", "c", "d"), { minLength: 1, maxLength: 12 });

test("the common subsequence is that of trying all", () => {
  const longest = (a: readonly string[], b: readonly string[]): number => {
    const [first, ...rest] = a;
    if (first === undefined) return 0;
    const at = b.indexOf(first);
    return Math.max(longest(rest, b), at < 0 ? 0 : 1 + longest(rest, b.slice(at + 1)));
  };
  fc.assert(fc.property(words, words, (a, b) => {
    expect(rougeL(a.join(" "), b.join(" ")).precision).toBeCloseTo(longest(a, b) / a.length, 12);
  }), { numRuns: 60 });
});
