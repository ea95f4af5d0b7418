import { expect, test } from "vitest";
import { exampleMatrix, exampleRecord, type ExampleRecordOptions } from "../example-run.fixture.ts";
import type { RunEvent } from "../facts.ts";
import type { ReportedRun } from "../reported-run.ts";
import { compareRuns } from "./comparison.ts";
import { labelOf } from "./rows.ts";
import type { MeasureTable } from "./tables.ts";

const at = (second: number): string => `2026-11-20T09:00:${String(second).padStart(2, "0")}.000Z`;
type Scenario = "base" | "federated" | "global" | `local/${number}`;
const template = exampleRecord({ until: 0.0001 });
const [begun] = template.events;
if (begun?.type !== "run-started") throw new Error("the fixture starts with run-started");

/** A run of two clients with ten labelled tokens each: `losses` are nats per token of its test rows; it ends at `second`. */
function runOf(options: ExampleRecordOptions, losses: Partial<Record<Scenario, number>>, { second = 10, extra = [] }: { second?: number; extra?: readonly RunEvent[] } = {}): ReportedRun {
  const evaluated = Object.entries(losses).map(([scenario, loss = NaN]): RunEvent => {
    const of = scenario.startsWith("local/") ? [Number(scenario.slice(6))] : [0, 1];
    const clients = of.map((client) => ({ client, nll: 10 * loss, labelledTokens: 10, examples: 3 }));
    return { type: "evaluated", at: at(1), scenario: scenario as Scenario, round: 1, split: "test", clients, pooled: { nll: 10 * loss * of.length, labelledTokens: 10 * of.length, examples: 3 * of.length }, best: false };
  });
  const events: RunEvent[] = [{ ...(begun as Extract<RunEvent, { type: "run-started" }>), clients: ["a", "b"].map((name) => ({ name, train: 8, validation: 2, test: 3 })), globalTest: 0 }, ...evaluated, ...extra, { type: "run-finished", at: at(second), seconds: second }];
  return { ...exampleRecord({ until: 0.0001, ...options }), events };
}

const benchmarked = (scenario: Scenario, value: number, of: { label?: string; better?: "lower" } = {}): RunEvent => ({
  type: "benchmarked", at: at(2), scenario, round: 1, place: 0, label: of.label ?? "quiz", benchmark: "mmlu", asked: 10, counted: 10, notes: [], seconds: 1,
  figures: [{ name: "accuracy", unit: "share", ...(of.better && { better: of.better }), value, low: value - 0.1, high: value + 0.1, interval: "wilson", questions: 10 }],
});
const validated = (scenario: Scenario, loss: number, round = 1): RunEvent => ({ type: "evaluated", at: at(1), scenario, round, split: "validation", clients: [], pooled: { nll: 20 * loss, labelledTokens: 20, examples: 4 }, best: true });
const tableOf = (runs: readonly ReportedRun[], key = "perplexity/test"): MeasureTable => {
  const found = compareRuns(runs).tables.find((t) => t.key === key);
  if (found === undefined) throw new Error(`expected a table ${key}`);
  return found;
};

test("seeds are one row with mean and sample deviation: losses ln 2, ln 4, ln 9 are perplexities 2, 4, 9", () => {
  const { rows } = tableOf([2, 4, 9].map((perplexity, i) => runOf({ seed: i }, { federated: Math.log(perplexity) })));
  expect(rows).toHaveLength(1);
  const cell = rows[0]?.cells.federated;
  expect(cell?.mean).toBeCloseTo(5, 12);
  expect(cell?.deviation).toBeCloseTo(Math.sqrt(13), 12);
  expect(cell?.seeds).toBe(3);
  expect(rows[0]?.best).toBeNull();
});

test("runs that hold different scenarios are one row; clients alone are pooled, and the lowest perplexity is the best", () => {
  const { rows } = tableOf([runOf({ compare: ["federated"] }, { federated: Math.log(3) }), runOf({ compare: ["local", "global"] }, { global: Math.log(2), "local/0": Math.log(4), "local/1": Math.log(9) })]);
  expect(rows).toHaveLength(1);
  expect(rows[0]?.cells.local?.mean).toBeCloseTo(6, 12);
  expect(rows[0]?.cells.global?.mean).toBeCloseTo(2, 12);
  expect(rows[0]?.cells.federated?.deviation).toBeNull();
  expect(rows[0]?.best).toBe("global");
});

test("a setting that varies within federation and method makes rows and names them; one that only differs between methods does not", () => {
  const { rows } = tableOf([runOf({ learningRate: 0.001 }, { federated: 1 }), runOf({ learningRate: 0.01 }, { federated: 1 }), runOf({ learningRate: 0.5, method: "dora" }, { federated: 1 }), runOf({ learningRate: 0.7, name: "other" }, { federated: 1 })]);
  expect(rows.map((row) => `${row.federation}: ${labelOf(row)}`)).toEqual(["dolly: lora, training.learning_rate 0.001", "dolly: lora, training.learning_rate 0.01", "dolly: dora", "other: lora"]);
});

test("of two runs of one seed and scenario the later finished one holds, in whatever order they are named", () => {
  const [early, late] = [runOf({ folder: "early" }, { federated: 1 }, { second: 20 }), runOf({ folder: "late" }, { federated: 2 }, { second: 30 })];
  const unfinished = { ...early, name: "unfinished", events: runOf({}, { federated: 3 }).events.slice(0, -1) };
  for (const runs of [[early, late, unfinished], [unfinished, late, early]]) expect(tableOf(runs).rows[0]?.cells.federated?.values.map(({ run }) => run)).toEqual(["late"]);
});

test("a row without a base takes that of a row of the same federation, where the data are the same", () => {
  const base = runOf({ method: "lora", data: "x" }, { base: Math.log(20), federated: 1 });
  const [, same, other, elsewhere] = tableOf([base, runOf({ method: "dora", data: "x" }, { federated: 1 }), runOf({ method: "vera", data: "y" }, { federated: 1 }), runOf({ method: "dora", data: "x", name: "another" }, { federated: 1 })]).rows;
  expect(same?.cells.base?.mean).toBeCloseTo(20, 12);
  expect([other?.cells.base, elsewhere?.cells.base]).toEqual([undefined, undefined]);
});

test("benchmarks: higher is better unless a figure says lower; clients alone stand as their mean, an interval comes from the benchmark", () => {
  const scores = [benchmarked("base", 0.2), benchmarked("local/0", 0.3), benchmarked("local/1", 0.6), benchmarked("federated", 0.4)];
  const [row] = tableOf([runOf({}, { federated: 1 }, { extra: scores })], "quiz/accuracy").rows;
  expect(row?.cells.local?.mean).toBeCloseTo(0.45, 12);
  expect(row?.best).toBe("local");
  expect(row?.cells.federated?.values[0]).toMatchObject({ value: 0.4, low: 0.4 - 0.1, high: 0.4 + 0.1, questions: 10 });
  expect(row?.cells.local?.values[0]).toMatchObject({ low: null, high: null });
  const lower = [benchmarked("base", 0.2, { better: "lower" }), benchmarked("federated", 0.4, { better: "lower" })];
  expect(tableOf([runOf({}, { federated: 1 }, { extra: lower })], "quiz/accuracy").rows[0]?.best).toBe("base");
});

test("single clients: each one's perplexity under every scenario, and what each can do alone, with the interval of its benchmark", () => {
  const run = runOf({}, { federated: Math.log(3), "local/0": Math.log(4), "local/1": Math.log(9) }, { extra: [benchmarked("local/0", 0.3), benchmarked("local/1", 0.6), benchmarked("federated", 0.4)] });
  const figures = compareRuns([run]).clients.map(({ scenario, client, key, value, low, questions }) => [scenario, client, key, Number(value.toFixed(9)), low, questions]);
  expect(figures).toEqual([
    ["local", "a", "perplexity/test", 4, null, 3],
    ["local", "b", "perplexity/test", 9, null, 3],
    ["local", "a", "quiz/accuracy", 0.3, 0.3 - 0.1, 10],
    ["local", "b", "quiz/accuracy", 0.6, 0.6 - 0.1, 10],
    ["federated", "a", "perplexity/test", 3, null, 3],
    ["federated", "b", "perplexity/test", 3, null, 3],
  ]);
});

test("with a client missing there is no mean of clients alone", () => {
  expect(tableOf([runOf({}, { federated: 1 }, { extra: [benchmarked("local/0", 0.3), benchmarked("federated", 0.3)] })], "quiz/accuracy").rows[0]?.cells.local).toBeUndefined();
});

test("a scatter has a point for each trained scenario of each run, and names what tuning by loss would choose", () => {
  const cells = [[0.001, 1, 2.0, 0.5], [0.001, 2, 1.7, 0.3], [0.01, 1, 1.8, 0.4], [0.01, 2, 1.8, 0.6]] as const;
  const runs = cells.map(([learningRate, seed, loss, score]) => runOf({ seed, learningRate, folder: `${learningRate}-${seed}` }, {}, { extra: [validated("base", 3, 0), benchmarked("base", 0.9), validated("federated", loss), validated("federated", 9, 2), benchmarked("federated", score)] }));
  const [figure, ...others] = compareRuns(runs).scatters;
  expect(others).toEqual([]);
  expect(figure?.points.map(({ scenario, seed, loss, score }) => [scenario, seed, loss, score])).toEqual(cells.map(([, seed, loss, score]) => ["federated", seed, loss, score]));
  // Ranks 4 1 2.5 2.5 and 3 1 2 4, less 2.5: (0.75 + 2.25 + 0 + 0) / √(4.5 · 5).
  expect(figure?.correlation?.coefficient).toBeCloseTo(3 / Math.sqrt(22.5), 12);
  // Means 1.85 and 1.8 of the loss, 0.4 and 0.5 of the score: one seed's 1.7 chooses nothing.
  expect(figure?.lowestLoss).toMatchObject({ settings: { "training.learning_rate": "0.01" }, loss: 1.8, score: 0.5, seeds: 2 });
  expect(figure?.bestScore).toEqual(figure?.lowestLoss);
});

test("efficiency rests on the rounds of all seeds: mean bytes of a message, median time, most memory", () => {
  const committed = (round: number, seconds: number, peakBytes: number, bytesUp: readonly number[]): RunEvent => ({ type: "round-committed", at: at(3), scenario: "federated", round, adapter: "0".repeat(64), optimizers: {}, failures: [], seconds, peakBytes, updates: bytesUp.map((up, client) => ({ client, weight: 1, examples: 1, tokens: 1, steps: 1, skippedSteps: 0, loss: 1, bytesDown: 50, bytesUp: up })) });
  const runs = [runOf({ seed: 1 }, {}, { extra: [committed(1, 5, 700, [10, 20]), committed(2, 3, 900, [30])] }), runOf({ seed: 2 }, {}, { extra: [committed(1, 100, 800, [40])] })];
  expect(compareRuns(runs).efficiency).toMatchObject([{ method: "lora", bytesDown: 50, bytesUp: 25, messages: 4, secondsPerRound: 5, rounds: 3, peakBytes: 900, runs: [{ seed: 1, bytesUp: 20, secondsPerRound: 4 }, { seed: 2, bytesUp: 40 }] }]);
});

test("a curve is the mean over seeds at the rounds that all have, with the seeds behind it", () => {
  const runs = [[2, 1.5, 1], [4, 2.5]].map((losses, seed) => runOf({ seed }, {}, { extra: losses.map((loss, i) => validated("federated", loss, i + 1)) }));
  const [line] = compareRuns(runs).curves[0]?.lines ?? [];
  expect(line?.mean).toEqual([[1, 3], [2, 2]]);
  expect(line?.seeds.map(({ points }) => points.length)).toEqual([3, 2]);
});

test("a matrix of two federations, three methods and three seeds has six rows with all scenarios, and partitions by hash", () => {
  const comparison = compareRuns(exampleMatrix());
  expect(comparison.tables.map(({ key }) => key)).toEqual(["perplexity/test", "perplexity/global-test", "gsm8k/accuracy", "stories/perplexity", "validation-loss"]);
  for (const { rows } of comparison.tables) {
    expect(rows).toHaveLength(6);
    for (const { cells } of rows) expect(Object.values(cells).map(({ seeds }) => seeds)).toEqual([3, 3, 3, 3]);
  }
  expect(comparison.partitions.map(({ federations, seeds }) => [federations, seeds])).toEqual([[["dolly-by-category"], [1]], [["dolly-by-category"], [2]], [["dolly-by-category"], [3]], [["gsm8k-3"], [1, 2, 3]]]);
  expect(comparison.scatters.map(({ points }) => points.length)).toEqual([27, 27, 27, 27]);
  expect(JSON.parse(JSON.stringify(comparison))).toEqual(comparison);
});
