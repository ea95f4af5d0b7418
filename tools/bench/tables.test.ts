import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/tiny-training.ts";
import { compete, worthwhile } from "./contest.ts";
import { openRecord } from "./record.ts";
import { contestTable, replaceSection } from "./tables.ts";

const standings = [
  { name: "slow peer", results: [{ rate: 10, memory: 100 }, { rate: 30, memory: 100 }, { rate: 20, memory: 700 }] },
  { name: "fast peer half", results: [{ rate: 40, memory: 500 }] },
  { name: "broken peer", results: [{}] },
  { name: "fedtune", results: [{ rate: 100, memory: 250 }] },
];

describe("tables of a contest", () => {
  test("have medians, and fedtune's ratios to the peer that did best and to the best in float32", () => {
    const roles = { isPeer: (name: string) => name.includes("peer"), isFloat32: (name: string) => !name.includes("half") };
    const columns = [{ title: "rate", field: "rate", digits: 1 }, { title: "MB", field: "memory", digits: 0 }, { title: "share", field: "share", digits: 2 }];
    expect(contestTable(standings, columns, { field: "rate", moreIsBetter: true, ...roles }).split("\n")).toEqual([
      "|  | rate | MB | share |", "| --- | --- | --- | --- |", "| slow peer | 20.0 | 100 | – |", "| fast peer half | 40.0 | 500 | – |", "| broken peer | – | – | – |",
      "| fedtune | 100.0 | 250 | – |", "| **to fast peer half** | **2.50** | **0.50** | – |", "| **to slow peer** | **5.00** | **2.50** | – |",
    ]);
    expect(contestTable(standings, columns, { field: "memory", moreIsBetter: false, ...roles }).match(/to [a-z ]+/g)).toEqual(["to slow peer"]);
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

test("only modes near the best one, the first, and the best of float32 are worth a contest", () => {
  const figures = new Map([["fp32", 10], ["fp32 compiled", 15], ["bf16", 17], ["amp", 20], ["amp compiled", 19]]);
  expect(worthwhile(figures, (name) => name.startsWith("fp32"))).toEqual(["fp32", "fp32 compiled", "amp", "amp compiled"]);
});

describe("a contest that was cut off", () => {
  const folder = temporaryFolder();
  /** Each run prints how many runs there have been. */
  const count = "const f = process.argv[1], fs = require('node:fs'); fs.appendFileSync(f, '.'); console.log('noise'); console.log(JSON.stringify({ n: fs.statSync(f).size }))";
  const setting = (name: string, identity = "code 1") => {
    const path = join(folder, `${name}.jsonl`);
    const contestants = ["a", "b"].map((who) => ({ name: who, command: [process.execPath, "-e", count, join(folder, `${name}-count`), who] }));
    const play = (turns: number): readonly number[] => compete({ what: name, turns }, contestants, { folder, record: openRecord(path), identify: () => identity }).flatMap(({ results }) => results.map((r) => Number(r["n"])));
    return { path, play };
  };

  test("goes on with the runs that it has", () => {
    const { play } = setting("goes on");
    expect(play(1)).toEqual([1, 2]);
    expect(play(3)).toEqual([1, 3, 5, 2, 4, 6]);
    expect(play(3)).toEqual([1, 3, 5, 2, 4, 6]);
  });

  test("makes a turn again that is not whole, and passes over a torn line", () => {
    const { path, play } = setting("torn");
    play(2);
    const lines = readFileSync(path, "utf8").split("\n");
    writeFileSync(path, `${lines.slice(0, 3).join("\n")}\n`);
    appendFileSync(path, (lines[3] ?? "").slice(0, 40));
    expect(play(2)).toEqual([1, 5, 2, 6]);
    expect(play(2)).toEqual([1, 5, 2, 6]);
  });

  test("takes nothing over from other code", () => {
    setting("code").play(1);
    expect(setting("code", "code 2").play(1)).toEqual([3, 4]);
  });
});
