import { expect, test } from "vitest";
import { createStopFilter } from "./stop-filter.ts";

const filter = (stops: readonly string[], pieces: readonly string[]): string[] => {
  const f = createStopFilter(stops);
  return [...pieces.map((p) => f.push(p)), f.finish()];
};

test("shows everything at once where nothing stops it", () => {
  expect(filter([], ["ab", "c"])).toEqual(["ab", "c", ""]);
});

test("cuts at a stop string that comes in pieces, and never shows a part of it", () => {
  expect(filter(["\nQ:"], ["one\n", "Q", ": two", "three"])).toEqual(["one", "", "", "", ""]);
});

test("shows what looked like a stop string once it is none", () => {
  expect(filter(["###"], ["a#", "#b", "#"])).toEqual(["a", "##b", "", "#"]);
});

test("takes the earliest of several stop strings", () => {
  expect(filter(["cd", "b"], ["abcd"]).join("")).toBe("a");
});
