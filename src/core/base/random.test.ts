import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { normals, permutation, philox4x32, randomKey, randomWords, uniforms } from "./random.ts";

/** Mean, variance and fourth moment about the mean. */
function moments(values: Float64Array): { mean: number; variance: number; fourth: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const about = (power: number): number => values.reduce((a, b) => a + (b - mean) ** power, 0) / values.length;
  return { mean, variance: about(2), fourth: about(4) };
}

describe("Philox4x32-10", () => {
  // The known answers of Random123's distribution (kat_vectors).
  test.each([
    [[0, 0], [0, 0, 0, 0], "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
    [[0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], "408f276d 41c83b0e a20bc7c6 6d5451fd"],
    [[0xa4093822, 0x299f31d0], [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], "d16cfe09 94fdcceb 5001e420 24126ea1"],
  ] as const)("gives the known answer for key %j and counter %j", (key, counter, answer) => {
    const out = new Uint32Array(6);
    philox4x32(key, counter, out, 1);
    expect(Array.from(out.subarray(1, 5), (word) => word.toString(16).padStart(8, "0")).join(" ")).toBe(answer);
    expect([out[0], out[5]]).toEqual([0, 0]);
  });
});

describe("random numbers", () => {
  const key = randomKey(7, "test");

  test("depend on seed, purpose and each word of the counter, and on nothing else", () => {
    const draws = [
      randomWords(key, [2, 3, 5], 4), randomWords(key, [3, 3, 5], 4), randomWords(key, [2, 5, 5], 4), randomWords(key, [2, 3, 7], 4),
      randomWords(randomKey(8, "test"), [2, 3, 5], 4), randomWords(randomKey(7, "tests"), [2, 3, 5], 4),
    ];
    expect(new Set(draws.map(String)).size).toBe(draws.length);
    expect(randomWords(randomKey(7, "test"), [2, 3, 5], 4)).toEqual(draws[0]);
    expect(randomWords(key, [2], 4)).toEqual(randomWords(key, [2, 0, 0], 4));
  });

  test("of a shorter draw begin the longer one", () => {
    fc.assert(
      fc.property(fc.nat(40), fc.nat(40), (a, b) => {
        const [short, long] = a < b ? [a, b] : [b, a];
        expect(randomWords(key, [2, 3, 5], long).subarray(0, short)).toEqual(randomWords(key, [2, 3, 5], short));
        expect(normals(key, [2, 3, 5], long).subarray(0, short)).toEqual(normals(key, [2, 3, 5], short));
      }),
    );
  });

  test("that are uniform lie inside (0, 1) with the mean and variance of the distribution", () => {
    const values = uniforms(key, [2], 40_000);
    expect(values.every((u) => u > 0 && u < 1)).toBe(true);
    const { mean, variance } = moments(values);
    // Five standard errors: sqrt(1/12/n) and sqrt(1/180/n).
    expect(Math.abs(mean - 1 / 2)).toBeLessThan(5 * Math.sqrt(1 / 12 / 40_000));
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(5 * Math.sqrt(1 / 180 / 40_000));
  });

  test("that are normal have mean 0, variance 1, fourth moment 3, and neighbours that are not correlated", () => {
    const values = normals(key, [3], 40_001);
    expect(values).toHaveLength(40_001);
    const { mean, variance, fourth } = moments(values);
    expect(Math.abs(mean)).toBeLessThan(5 / Math.sqrt(40_000));
    expect(Math.abs(variance - 1)).toBeLessThan(5 * Math.sqrt(2 / 40_000));
    expect(Math.abs(fourth - 3)).toBeLessThan(5 * Math.sqrt(96 / 40_000));
    const products = values.subarray(1).map((x, i) => x * (values[i] ?? 0));
    expect(Math.abs(moments(products).mean)).toBeLessThan(5 / Math.sqrt(40_000));
  });
});

describe("a permutation", () => {
  test("holds each index once, for any size", () => {
    fc.assert(
      fc.property(fc.nat(200), fc.nat(), (n, round) => {
        const order = permutation(randomKey(7, "shuffle"), [round], n);
        expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i));
      }),
    );
  });

  test("is each of the six of three with equal frequency", () => {
    const counts = new Map<string, number>();
    for (let i = 0; i < 6000; i++) {
      const order = String(permutation(randomKey(7, "shuffle"), [i], 3));
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    // Chi squared with 5 degrees of freedom exceeds 20.5 once in a thousand.
    expect([...counts.values()].reduce((a, n) => a + (n - 1000) ** 2 / 1000, 0)).toBeLessThan(20.5);
  });
});
