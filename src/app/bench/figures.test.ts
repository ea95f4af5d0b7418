import { describe, expect, test } from "vitest";
import { exponentOf, median, round } from "./figures.ts";

describe("figures", () => {
  test("the median of an even number of values is the mean of the middle two", () => {
    expect([median([9, 1, 4]), median([10, 2, 3, 7]), median([])]).toEqual([4, 5, Number.NaN]);
  });

  test("the exponent of a power law is found whatever its factor", () => {
    expect(round(exponentOf([2, 4, 16].map((x) => ({ x, y: 7 * x ** 1.3 }))), 9)).toBe(1.3);
    expect(round(exponentOf([2, 5].map((x) => ({ x, y: 3 }))), 9)).toBe(0);
  });
});
