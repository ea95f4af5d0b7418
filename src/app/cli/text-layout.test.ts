import { expect, test } from "vitest";
import { fit, layoutTable, printable, widthOf, wrap } from "./text-layout.ts";

test("width counts what is seen: no colours, wide characters twice, combined marks once", () => {
  expect([widthOf("\u001b[31mred\u001b[0m"), widthOf("日本"), widthOf("e\u0301"), widthOf("👩‍👩‍👧"), widthOf("Lübeck")]).toEqual([3, 4, 1, 2, 6]);
});

test("a text too long is cut to the width with an ellipsis, never through a character", () => {
  expect([fit("abcdef", 6), fit("abcdef", 5), fit("日本語", 5), fit("e\u0301e\u0301e\u0301", 2), fit("abc", 0)]).toEqual(["abcdef", "abcd…", "日本…", "e\u0301…", ""]);
});

test("wrapping breaks between words, and inside one only where it is longer than a line", () => {
  expect(wrap("one two three", 8)).toEqual(["one two", "three"]);
  expect(wrap("abcdefghij kl", 4)).toEqual(["abcd", "efgh", "ij", "kl"]);
  expect(wrap("a\n\nb", 4)).toEqual(["a", "", "b"]);
});

test("no wrapped line is wider than asked", () => {
  for (const width of [3, 7, 20]) for (const line of wrap("日本語 and some words of Lübeck, supercalifragilistic.", width)) expect(widthOf(line)).toBeLessThanOrEqual(width);
});

test("text from data cannot steer the terminal", () => {
  expect(printable("a\u001b[2Jb\u0007\u009bc\r\nd\te")).toBe("a\ufffd[2Jb\ufffd\ufffdc\nd\te");
});

test("a table aligns figures to the right and cuts the first column before it grows too wide", () => {
  const columns = [{ heading: "client", align: "left" }, { heading: "base", align: "right" }] as const;
  expect(layoutTable(columns, [["Juliet", "7.12"], ["Nurse", "\u001b[32m112.00\u001b[39m"]], 80)).toEqual(["client    base", "Juliet    7.12", "Nurse   \u001b[32m112.00\u001b[39m"]);
  expect(layoutTable(columns, [["a very long name of a client", "7.12"]], 20)).toEqual(["client          base", "a very long n…  7.12"]);
});
