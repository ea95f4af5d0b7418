import { expect, test } from "vitest";
import { formatBytes, formatPerplexity, formatSeconds, formatThings } from "./format.ts";

test("bytes go up a unit before they show four digits", () => {
  expect([0, 999, 1000, 99_949, 999_400, 999_600, 1_835_008, 73_400_320].map(formatBytes)).toEqual(["0 B", "999 B", "1.0 kB", "99.9 kB", "999 kB", "1.0 MB", "1.8 MB", "73.4 MB"]);
});

test("seconds become minutes and hours without sixty of anything", () => {
  expect([0.2, 59.6, 65, 3599.7, 3601, 7199].map(formatSeconds)).toEqual(["0 s", "1 min 00 s", "1 min 05 s", "1 h 00 min", "1 h 00 min", "2 h 00 min"]);
});

test("perplexity stays short however large, and says when there is none", () => {
  expect([undefined, 7.1234, 1234.5, 123_456, Infinity].map(formatPerplexity)).toEqual(["–", "7.12", "1234.50", "1.2e+5", "∞"]);
});

test("one of a thing is singular", () => {
  expect([formatThings(1, "round"), formatThings(2000, "round")]).toEqual(["1 round", "2,000 rounds"]);
});
