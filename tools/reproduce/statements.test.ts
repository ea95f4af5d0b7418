import { describe, expect, it } from "vitest";
import type { Cell, Measure, Pair } from "./cell.ts";
import { estimate, judge, ratio, verdictOn } from "./statements.ts";

const ones = (...scores: readonly number[]): Pair[] => scores.map((score) => [score, 1]);

describe("an estimate", () => {
  it("is the ratio of sums, not the mean of ratios", () => {
    expect(ratio([[6, 2], [1, 4]])).toBeCloseTo(7 / 6, 12);
    expect(ratio([[6, 2], [1, 4]], [1, 1])).toBeCloseTo(0.25, 12);
  });

  it("has no width where every question differs by as much, and counts questions in pairs", () => {
    const [a, b] = [ones(0.1, 0.9, 0.4, 0.6), ones(0, 0.8, 0.3, 0.5)];
    const found = estimate([[a, b]], ([x = NaN, y = NaN]) => x - y);
    for (const value of Object.values(found)) expect(value).toBeCloseTo(0.1, 12);
  });

  it("is as wide as the binomial distribution says", () => {
    // 100 questions, half of them right: standard error 0.05.
    const found = estimate([[ones(...Array.from({ length: 100 }, (_, i) => i % 2))]], ([x = NaN]) => x);
    expect(found.value).toBe(0.5);
    expect(found.low).toBeGreaterThan(0.5 - 0.05 * 2.3);
    expect(found.low).toBeLessThan(0.5 - 0.05 * 1.7);
    expect(found.high - 0.5).toBeCloseTo(0.5 - found.low, 1);
  });

  it("is wider where seeds disagree than where they agree", () => {
    const width = (seeds: readonly (readonly Pair[])[]): number => {
      const { low, high } = estimate(seeds.map((pairs) => [pairs]), ([x = NaN]) => x);
      return high - low;
    };
    const same = Array.from({ length: 40 }, () => 0.5);
    expect(width([ones(...same), ones(...same), ones(...same)])).toBeCloseTo(0, 12);
    expect(width([ones(...same.map(() => 0.2)), ones(...same), ones(...same.map(() => 0.8))])).toBeGreaterThan(0.3);
  });
});

const measure = (label: string, better: Measure["better"], scenarios: Measure["scenarios"]): Measure => ({ label, benchmark: label, better, scenarios });
const cell = (method: string, measures: readonly Measure[], seed = 1): Cell => ({
  version: 1, key: "", federation: "fed", method, label: "", seed, clients: 2, machine: "", versions: {}, seconds: 1, trainableParameters: 1, bytesDown: 1, bytesUp: 1, secondsPerRound: 1, peakBytes: 1, rounds: [], measures: [...measures],
});
const verdicts = (cells: readonly Cell[]): readonly string[] => judge(cells).map(({ verdict }) => verdict);
const spread = (by: number): Pair[] => ones(...Array.from({ length: 50 }, (_, i) => 0.3 + 0.004 * (i % 7) + by));
const loss = (by: number): Pair[] => Array.from({ length: 50 }, (_, i): Pair => [(3 + 0.01 * (i % 5) + by) * (10 + i), 10 + i]);

describe("the statements", () => {
  it("are confirmed where every interval lies above 0, by losses and by scores", () => {
    const measures = [measure("rouge-l", "higher", { base: spread(0), local: spread(0.1), global: spread(0.2), federated: spread(0.21) }), measure("perplexity", "lower", { base: loss(0), local: loss(-0.1), global: loss(-0.2), federated: loss(-0.21) })];
    expect(verdicts([cell("lora", measures), cell("prompt", [measure("rouge-l", "higher", { federated: spread(0.05) }), measure("perplexity", "lower", { federated: loss(-0.02) })])])).toEqual(["confirmed", "confirmed", "confirmed"]);
  });

  it("are contradicted where it is the other way round", () => {
    const measures = [measure("rouge-l", "higher", { base: spread(0), local: spread(0.3), global: spread(0.2), federated: spread(0.1) })];
    expect(verdicts([cell("lora", measures), cell("prompt", [measure("rouge-l", "higher", { federated: spread(0.2) })])])).toEqual(["contradicted", "contradicted", "contradicted"]);
  });

  it("pair the seeds of two methods by number, not by order", () => {
    const of = (method: string, seed: number, by: number): Cell => cell(method, [measure("rouge-l", "higher", { federated: spread(by) })], seed);
    const found = judge([of("lora", 1, 0.1), of("lora", 2, 0.5), of("prompt", 2, 0.3), of("prompt", 1, 0)])[1]?.comparisons[0];
    expect(found?.seeds).toBe(2);
    expect(found?.estimate.low).toBeGreaterThan(0.09);
  });

  it("stay undecided where intervals hold 0, where measures disagree, and where nothing was compared", () => {
    const measures = [measure("rouge-l", "higher", { local: spread(0), federated: spread(0.1) }), measure("perplexity", "lower", { local: loss(0), federated: loss(0.1) })];
    expect(verdicts([cell("lora", measures)])).toEqual(["undecided", "undecided", "undecided"]);
    expect(verdictOn({ value: 0.1, low: -0.1, high: 0.3 })).toBe("undecided");
  });
});
