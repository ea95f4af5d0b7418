import { createColors } from "picocolors";
import { expect, test } from "vitest";
import { exampleCategories } from "../report/example-run.fixture.ts";
import { drawPartition } from "./partition-chart.ts";
import { widthOf } from "./text-layout.ts";

const clients = [{ name: "Juliet", train: 80, validation: 10, test: 10 }, { name: "a client with quite a long name indeed", train: 20, validation: 3, test: 2 }];
const none = { field: null, categories: ["examples"], clients: [] };
const draw = (width: number, categories = none as Parameters<typeof drawPartition>[0]["categories"]): readonly string[] => drawPartition({ clients, globalTest: 7, categories }, { width, colors: createColors(false) });

test("bars are as long as the rows they stand for, and each part has its share", () => {
  const lines = draw(80);
  const bar = (name: string): string => lines.find((line) => line.startsWith(name))?.replace(/^.{24} +\d+ +/, "") ?? "";
  expect(bar("Juliet").length).toBeCloseTo(4 * bar("a client").length, -1);
  // 80 columns less the name (24), the sum (3) and four spaces.
  expect(bar("Juliet")).toHaveLength(49);
  expect(bar("Juliet")).toMatch(/^█{39}▒{5}░{5}$/);
});

test("a chart fits the terminal and carries the numbers", () => {
  for (const width of [80, 60]) for (const line of draw(width, exampleCategories)) expect(widthOf(line)).toBeLessThanOrEqual(width);
  expect(draw(80).join("\n")).toMatch(/█ train 100 {3}▒ validation 13 {3}░ test 12/);
  expect(draw(80).at(-1)).toBe("7 rows belong to no client: the global test.");
});

test("categories are drawn where the data has them", () => {
  expect(draw(80).join("\n")).not.toContain("Rows by examples");
  expect(draw(80, exampleCategories).join("\n")).toContain("Rows by category");
});
