import { describe, expect, test } from "vitest";
import type { Judged } from "./benchmark.ts";
import { bootstrap, byGroup, mean, perplexity, proportion, wilson } from "./statistics.ts";

const judged = (scores: readonly Readonly<Record<string, number>>[], facts: readonly Judged["facts"][] = []): readonly Judged[] =>
  scores.map((score, i) => ({ id: `${i}`, facts: facts[i] ?? {}, judgement: { parsed: null, scores: score } }));

describe("Wilson's interval", () => {
  test.each([[7, 20], [0, 10], [10, 10], [263, 1319]])("of %i of %i ends where the score test rejects: |k/n - p| = 1.96 √(p (1 - p) / n)", (k, n) => {
    const { low, high } = wilson(k, n);
    const distance = (p: number): number => Math.abs(k / n - p) - 1.959963984540054 * Math.sqrt((p * (1 - p)) / n);
    if (k > 0) expect(distance(low)).toBeCloseTo(0, 12);
    else expect(low).toBe(0);
    if (k < n) expect(distance(high)).toBeCloseTo(0, 12);
    else expect(high).toBe(1);
    expect(low).toBeLessThanOrEqual(k / n);
    expect(high).toBeGreaterThanOrEqual(k / n);
  });

  test("of nothing is everything", () => expect(wilson(0, 0)).toEqual({ low: 0, high: 1 }));
});

describe("the bootstrap", () => {
  const values = Array.from({ length: 400 }, (_, i) => Math.sin(i * 7.3));
  const average = (indices: Uint32Array): number => indices.reduce((sum, i) => sum + (values[i] ?? NaN), 0) / indices.length;

  test("gives the interval of the normal distribution for a mean of many", () => {
    const m = values.reduce((a, b) => a + b, 0) / values.length;
    const error = Math.sqrt(values.reduce((sum, x) => sum + (x - m) ** 2, 0) / (values.length - 1) / values.length);
    const { low, high } = bootstrap(values.length, average);
    expect(Math.abs(low - (m - 1.96 * error))).toBeLessThan(0.15 * error);
    expect(Math.abs(high - (m + 1.96 * error))).toBeLessThan(0.15 * error);
  });

  test("is the same every time, and draws from all questions", () => {
    expect(bootstrap(400, average)).toEqual(bootstrap(400, average));
    const seen = new Set<number>();
    bootstrap(400, (indices) => indices.reduce((sum, i) => (seen.add(i), sum + i), 0));
    expect([seen.size, Math.max(...seen)]).toEqual([400, 399]);
  });
});

test("a proportion is the share of right answers", () => {
  expect(proportion(judged([{ correct: 1 }, { correct: 0 }, { correct: 1 }, { correct: 1 }]), "correct", { name: "accuracy" })).toMatchObject({ name: "accuracy", value: 0.75, interval: "wilson", questions: 4, ...wilson(3, 4) });
});

test("a mean lies within its interval", () => {
  const figure = mean(judged([0.2, 0.9, 0.4, 0.7, 0.3].map((f1) => ({ f1 }))), "f1", { name: "F1" });
  expect(figure.value).toBeCloseTo(0.5, 12);
  expect(figure.low).toBeGreaterThan(0.2);
  expect(figure.low).toBeLessThan(0.5);
  expect(figure.high).toBeGreaterThan(0.5);
  expect(figure.high).toBeLessThan(0.9);
});

test("a perplexity weighs questions by their tokens", () => {
  const figure = perplexity(judged([{ nll: 12, tokens: 3 }, { nll: 2, tokens: 11 }]), { name: "perplexity", loss: "nll", tokens: "tokens" });
  expect(figure.value).toBeCloseTo(Math.exp(1), 12);
  expect(figure).toMatchObject({ low: Math.exp(2 / 11), high: Math.exp(4) });
});

test("groups are in the order of their names, numbers as numbers, and leave out who is in none", () => {
  const list = judged([{ x: 1 }, { x: 0 }, { x: 1 }, { x: 0 }], [{ client: "10" }, { client: "9" }, { client: null }, {}]);
  const figures = byGroup(list, { kind: "client", fact: "client" }, (part, group) => proportion(part, "x", { name: "share", group }));
  expect(figures.map(({ group, value, questions }) => [group?.kind, group?.name, value, questions])).toEqual([["client", "9", 0, 1], ["client", "10", 1, 1]]);
});
