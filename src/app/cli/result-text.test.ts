import { createColors } from "picocolors";
import { expect, test } from "vitest";
import { exampleRun } from "../report/example-run.fixture.ts";
import { writeResult } from "./result-text.ts";
import { widthOf } from "./text-layout.ts";

const lines = (width: number, color = false): readonly string[] => writeResult(exampleRun(), { width, colors: createColors(color) });

test("the result of ten clients fits 80 columns", () => {
  expect(Math.max(...lines(80).map(widthOf))).toBeLessThanOrEqual(80);
});

test("colours change no layout", () => {
  expect(lines(80, true).map(widthOf)).toEqual(lines(80).map(widthOf));
});

test("each row has one best value, marked without colours too", () => {
  const rows = lines(80).filter((line) => /\d+\.\d\d.*\d+\.\d\d/.test(line) && !line.includes("clients alone"));
  expect(rows).toHaveLength(12);
  for (const row of rows) expect(row.match(/\*/g)).toHaveLength(1);
});

test("samples stand before and after, and nothing in them steers the terminal", () => {
  const events = exampleRun().map((e) => (e.type === "sampled" && e.scenario === "base" ? { ...e, text: "\u001b[2Jgone" } : e));
  const text = writeResult(events, { width: 80, colors: createColors(false) }).join("\n");
  expect(text).toContain("before  \ufffd[2Jgone");
  expect(text).toMatch(/after {3}Dear Ms Petersen,/);
});

test("a run without evaluation has a sentence and no table", () => {
  expect(writeResult(exampleRun({ until: 0.001 }), { width: 80, colors: createColors(false) })).toHaveLength(1);
});

test("benchmarks stand below with their intervals, the best of each marked, within 80 columns", () => {
  const all = writeResult(exampleRun({ benchmarks: true }), { width: 80, colors: createColors(false) });
  const text = all.join("\n");
  expect(Math.max(...all.map(widthOf))).toBeLessThanOrEqual(80);
  expect(text).toContain("gsm8k: accuracy");
  expect(text).toMatch(/base +4\.\d %  +1\.\d to 8\.\d %\n/);
  expect(text).toMatch(/alone +\d+\.\d %  +10 clients, \d+\.\d to \d+\.\d %\n/);
  expect(text.slice(text.indexOf("Benchmarks (")).match(/\d( %)?\*/g)).toHaveLength(2);
});
