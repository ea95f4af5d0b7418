import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sampleToken, type SamplingOptions } from "./sampling.ts";

/** Probabilities 0.4, 0.3, 0.2, 0.1 in a shuffled order: ids 2, 0, 3, 1. */
const LOGITS = Float32Array.of(Math.log(0.3), Math.log(0.1), Math.log(0.4), Math.log(0.2));
const DRAWN: SamplingOptions = { temperature: 1, topK: 0, topP: 1, seed: 7 };

/** How often each id is drawn at `n` places, as a fraction. */
function frequencies(options: Partial<SamplingOptions>, n = 4000): number[] {
  const counts = [0, 0, 0, 0];
  for (let step = 0; step < n; step++) {
    const id = sampleToken(LOGITS, { ...DRAWN, ...options }, 3, step);
    counts[id] = (counts[id] ?? 0) + 1 / n;
  }
  return counts;
}

function expectNear(actual: readonly number[], expected: readonly number[]): void {
  // Three standard deviations of a fraction near 0.5 of 4000 draws are 0.024.
  actual.forEach((x, i) => expect(Math.abs(x - (expected[i] ?? 0))).toBeLessThan(0.024));
}

describe("sampling the next token", () => {
  test("at temperature 0 takes the likeliest, the first of equals", () => {
    expect(sampleToken(LOGITS, { ...DRAWN, temperature: 0 }, 0, 0)).toBe(2);
    expect(sampleToken(Float32Array.of(-3, 5, 1, 5), { ...DRAWN, temperature: 0 }, 0, 0)).toBe(1);
  });

  test("follows the probabilities", () => {
    expectNear(frequencies({}), [0.3, 0.1, 0.4, 0.2]);
  });

  test("sharpens below temperature 1 and flattens above", () => {
    const squares = [0.09, 0.01, 0.16, 0.04].map((p) => p / 0.3);
    expectNear(frequencies({ temperature: 0.5 }), squares);
    expectNear(frequencies({ temperature: 1000 }), [0.25, 0.25, 0.25, 0.25]);
  });

  test("top-k keeps the k likeliest; 1 is greedy, more than all is all", () => {
    expectNear(frequencies({ topK: 2 }), [3 / 7, 0, 4 / 7, 0]);
    expect(frequencies({ topK: 1 }, 50)[2]).toBeCloseTo(1, 9);
    expect(frequencies({ topK: 99 })).toEqual(frequencies({ topK: 0 }));
  });

  test("top-p keeps the fewest whose probability reaches p, always the likeliest", () => {
    expectNear(frequencies({ topP: 0.699 }), [3 / 7, 0, 4 / 7, 0]);
    expectNear(frequencies({ topP: 0.701 }), [3 / 9, 0, 4 / 9, 2 / 9]);
    expect(frequencies({ topP: 0.05 }, 50)[2]).toBeCloseTo(1, 9);
    expect(frequencies({ topP: 0 }, 50)[2]).toBeCloseTo(1, 9);
    expect(frequencies({ topP: 1 }).every((f) => f > 0)).toBe(true);
  });

  test("top-p counts within what top-k kept", () => {
    // Of 0.4 and 0.3 the first alone is 57 %: 0.55 keeps one, 0.6 both.
    expect(frequencies({ topK: 2, topP: 0.55 }, 50)[2]).toBeCloseTo(1, 9);
    expectNear(frequencies({ topK: 2, topP: 0.6 }), [3 / 7, 0, 4 / 7, 0]);
  });

  test("is a pure function of seed, row and step, and differs in each", () => {
    const draws = (seed: number, row: number): number[] => Array.from({ length: 40 }, (_, step) => sampleToken(LOGITS, { ...DRAWN, seed }, row, step));
    expect(draws(7, 0)).toEqual(draws(7, 0));
    expect(new Set([draws(7, 0), draws(8, 0), draws(7, 1)].map(String)).size).toBe(3);
    expect(new Set(draws(7, 0)).size).toBeGreaterThan(1);
  });

  test("never draws a token of probability 0, whatever the logits", () => {
    fc.assert(fc.property(fc.array(fc.float({ min: -50, max: 50, noNaN: true }), { minLength: 2, maxLength: 9 }), fc.nat(8), fc.nat(1000), (values, hidden, step) => {
      const logits = Float32Array.from(values, (x, i) => (i === hidden % values.length ? -Infinity : x));
      expect(sampleToken(logits, { ...DRAWN, topP: 0.9 }, 0, step)).not.toBe(hidden % values.length);
    }));
  });
});
