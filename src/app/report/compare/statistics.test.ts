import { expect, test } from "vitest";
import { deviationOf, meanOf, medianOf, rankCorrelation, ranksOf } from "./statistics.ts";

test("mean and sample deviation of 2, 4, 9: 5 and √((9 + 1 + 16) / 2)", () => {
  expect(meanOf([2, 4, 9])).toBe(5);
  expect(deviationOf([2, 4, 9])).toBeCloseTo(Math.sqrt(13), 12);
  expect(deviationOf([2])).toBeUndefined();
});

test("the median is the middle, or between the two in the middle", () => {
  expect([medianOf([9, 1, 4]), medianOf([9, 1, 4, 6]), medianOf([])]).toEqual([4, 5, undefined]);
});

test("equal values share the mean of their ranks", () => {
  expect(ranksOf([30, 10, 20, 20, 30, 30])).toEqual([5, 1, 2.5, 2.5, 5, 5]);
});

const pairs = (a: readonly number[], b: readonly number[]): [number, number][] => a.map((value, i) => [value, b[i] ?? NaN]);

test("without ties it is 1 − 6 Σd² / (n (n² − 1)): IQ and hours of television, −29/165", () => {
  // The textbook example: d² sums to 194 over ten pairs.
  const found = rankCorrelation(pairs([106, 100, 86, 101, 99, 103, 97, 113, 112, 110], [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]));
  expect(found?.coefficient).toBeCloseTo(-29 / 165, 12);
  expect(found?.pairs).toBe(10);
  // atanh(−0.1757576) = −0.1776016, half of the interval 1.959964 · √(1.0154454 / 7) = 0.7464958.
  expect(found?.interval?.low).toBeCloseTo(-0.72783, 5);
  expect(found?.interval?.high).toBeCloseTo(0.514547, 5);
});

test("with ties it is Pearson's of the ranks", () => {
  // Ranks 1, 2.5, 2.5, 4 and 1, 2, 3.5, 3.5: deviations −1.5 0 0 1.5 and −1.5 −.5 1 1: 3.75 / √(4.5 · 4.5).
  expect(rankCorrelation(pairs([1, 2, 2, 3], [5, 6, 7, 7]))).toEqual({ coefficient: 3.75 / 4.5, pairs: 4 });
});

test("a perfect order has no interval, equal values and pairs too few no correlation", () => {
  expect(rankCorrelation(pairs([1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]))).toEqual({ coefficient: -1, pairs: 6 });
  expect(rankCorrelation(pairs([1, 2, 3], [4, 4, 4]))).toBeUndefined();
  expect(rankCorrelation(pairs([1, 2], [4, 5]))).toBeUndefined();
});
