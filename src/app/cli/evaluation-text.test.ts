import { createColors } from "picocolors";
import { expect, test } from "vitest";
import type { BenchmarkFigure } from "../../index.ts";
import { writeBenchmarkResult } from "./evaluation-text.ts";

const figure = (value: number, changes: Partial<BenchmarkFigure> = {}): BenchmarkFigure => ({ name: "accuracy", unit: "share", value, low: value - 0.0625, high: value + 0.0625, interval: "wilson", questions: 64, ...changes });

test("the headline stands above tables by kind of group; shares in percent, other figures as numbers", () => {
  const figures = [
    figure(0.5), figure(0.25, { group: { kind: "category", name: "STEM" } }), figure(0.75, { group: { kind: "category", name: "humanities" }, questions: 7 }),
    { ...figure(20.0625, { name: "perplexity", unit: "number", interval: "bootstrap" }), group: { kind: "client", name: "3" } },
  ];
  const lines = writeBenchmarkResult({ benchmark: "mmlu", settings: {}, questions: 14042, asked: 71, counted: 70, skipped: [{ reason: "go is not installed", questions: 1 }], figures, notes: ["no network namespace"] }, { width: 80, colors: createColors(false) });
  expect(lines).toEqual([
    "mmlu  71 of 14042 questions",
    "  accuracy 50.0 %  (95 %: 43.8 % to 56.3 %, wilson)",
    "",
    "  category    accuracy              95 %  questions",
    "  STEM          25.0 %  18.8 % to 31.3 %         64",
    "  humanities    75.0 %  68.8 % to 81.3 %          7",
    "",
    "  client  perplexity              95 %  questions",
    "  3           20.063  20.000 to 20.125         64",
    "  left out: 1 (go is not installed)",
    "  note: no network namespace",
  ]);
});
