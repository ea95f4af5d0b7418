import { describe, expect, test } from "vitest";
import { worthwhile } from "./contest.ts";
import { contestTable, replaceSection } from "./tables.ts";

const standings = [
  { name: "slow peer", results: [{ rate: 10, memory: 100 }, { rate: 30, memory: 100 }, { rate: 20, memory: 700 }] },
  { name: "fast peer", results: [{ rate: 40, memory: 500 }] },
  { name: "fedtune", results: [{ rate: 100, memory: 250 }] },
];

describe("tables of a contest", () => {
  test("have medians, and fedtune's ratios to the peer that did best", () => {
    const columns = [{ title: "rate", field: "rate", digits: 1 }, { title: "MB", field: "memory", digits: 0 }, { title: "share", field: "share", digits: 2 }];
    expect(contestTable(standings, columns, { field: "rate", moreIsBetter: true, isPeer: (name) => name.endsWith("peer") }).split("\n")).toEqual([
      "|  | rate | MB | share |", "| --- | --- | --- | --- |", "| slow peer | 20.0 | 100 | – |", "| fast peer | 40.0 | 500 | – |", "| fedtune | 100.0 | 250 | – |", "| **to fast peer** | **2.50** | **0.50** | – |",
    ]);
    expect(contestTable(standings, columns, { field: "memory", moreIsBetter: false, isPeer: (name) => name.endsWith("peer") })).toContain("**to slow peer**");
  });

  test("replace what stands between their markers and nothing else", () => {
    const text = "# Title\nbefore\n<!-- bench:step -->\nold\n<!-- /bench:step -->\nafter\n";
    expect(replaceSection(text, "step", "new\n")).toBe("# Title\nbefore\n<!-- bench:step -->\nnew\n<!-- /bench:step -->\nafter\n");
    const added = replaceSection(text, "round", "first");
    expect(added).toBe(`${text}\n<!-- bench:round -->\nfirst\n<!-- /bench:round -->\n`);
    expect(replaceSection(added, "round", "second")).toBe(added.replace("first", "second"));
    expect(() => replaceSection("<!-- /bench:a --> <!-- bench:a -->", "a", "")).toThrow("markers of a");
  });
});

test("only modes near the best one, and the first, are worth a contest", () => {
  expect(worthwhile(new Map([["fp32", 10], ["compiled", 19], ["bf16", 17], ["amp", 20]]))).toEqual(["fp32", "compiled", "amp"]);
});
