import { expect, test } from "vitest";
import type { RunEvent } from "./api.ts";
import { exampleRun } from "../report/example-run.fixture.ts";
import { addEvent, NO_PROGRESS, viewProgress } from "./progress.ts";
import type { Progress, ProgressView } from "./progress.ts";

const T0 = Date.UTC(2026, 10, 20, 9, 0, 0);
const at = (seconds: number): string => new Date(T0 + seconds * 1000).toISOString();
const first = exampleRun()[0];
if (first?.type !== "run-started") throw new Error("the fixture starts with run-started");
const started: RunEvent = { ...first, at: at(0), rounds: 3, localSteps: 2, clients: first.clients.slice(0, 5), scenarios: ["federated"] };
const roundStarted = (seconds: number, round: number, clients: number[]): RunEvent => ({ type: "round-started", at: at(seconds), scenario: "federated", round, clients });
const step = (seconds: number, client: number, n: number, more: { round?: number; loss?: number | null; tokens?: number; scenario?: "federated" | "global" | `local/${number}` } = {}): RunEvent => ({
  type: "step", at: at(seconds), scenario: more.scenario ?? "federated", round: more.round ?? 1, client, step: n, loss: more.loss === undefined ? 2.5 : more.loss, learningRate: 0.1, gradientNorm: 1, skipped: more.loss === null, examples: 3, tokens: more.tokens ?? 70,
});
const committed = (seconds: number, round: number, scenario: "federated" | `local/${number}` = "federated"): RunEvent => ({ type: "round-committed", at: at(seconds), scenario, round, adapter: "0".repeat(64), optimizers: {}, updates: [], failures: [], seconds: 1 });
const fold = (events: readonly RunEvent[]): Progress => events.reduce(addEvent, NO_PROGRESS);
const view = (events: readonly RunEvent[], seconds: number): ProgressView => viewProgress(fold(events), T0 + seconds * 1000);

test("a client counts as done once it has taken all steps of the round", () => {
  const events = [started, roundStarted(1, 1, [0, 2, 4]), step(2, 0, 1), step(3, 0, 2), step(4, 2, 1)];
  expect(view(events, 4)).toMatchObject({ phase: "federated", round: 1, rounds: 3, clientsDone: 1, clients: 3 });
});

test("after a commit the round's clients are done, and a new round starts from none", () => {
  const events = [started, roundStarted(1, 1, [0, 2]), step(2, 0, 2), step(3, 2, 2), committed(4, 1)];
  expect(view(events, 4)).toMatchObject({ clientsDone: 2, clients: 2 });
  expect(view([...events, roundStarted(4, 2, [1, 3])], 4)).toMatchObject({ clientsDone: 0, round: 2 });
});

test("time left is the remaining steps at the pace so far, and runs down between events", () => {
  // 3 rounds of 2 clients with 2 steps: 12 in all; 4 took 8 s.
  const events = [started, roundStarted(1, 1, [0, 2]), step(5, 0, 2), step(9, 2, 2), committed(9, 1)];
  expect(view(events, 9).secondsLeft).toBeCloseTo(16);
  expect(view(events, 12).secondsLeft).toBeCloseTo(13);
  expect(view(events, 9).fraction).toBeCloseTo(4 / 12);
  expect(view(events, 99).secondsLeft).toBe(0);
});

test("a resume measures the pace anew and takes the open round's steps again", () => {
  const before = [started, roundStarted(1, 1, [0, 2]), step(500, 0, 2), step(900, 2, 2), committed(900, 1), roundStarted(900, 2, [0, 2]), step(950, 0, 2, { round: 2 })];
  const resumed: RunEvent = { type: "run-resumed", at: at(5000) };
  const events = [...before, resumed, roundStarted(5001, 2, [0, 2]), step(5003, 0, 2, { round: 2 })];
  expect(view([...before, resumed], 5000)).toMatchObject({ secondsLeft: undefined, fraction: 4 / 12, secondsElapsed: 0 });
  expect(view(events, 5003).secondsLeft).toBeCloseTo(6); // 2 steps in 2 s, 6 left
});

test("the rate is that of the last ten seconds", () => {
  const slow = Array.from({ length: 20 }, (_, i) => step(2 + i, 0, 1, { tokens: 10 }));
  const fast = Array.from({ length: 60 }, (_, i) => step(22 + i / 4, 0, 1, { tokens: 50 }));
  expect(view([started, roundStarted(1, 1, [0])], 2).tokensPerSecond).toBeUndefined();
  expect(view([started, roundStarted(1, 1, [0]), ...slow], 21).tokensPerSecond).toBeCloseTo(10);
  expect(view([started, roundStarted(1, 1, [0]), ...slow, ...fast], 37).tokensPerSecond).toBeCloseTo(200);
});

test("many events in one second keep the fold small", () => {
  const events = Array.from({ length: 5000 }, (_, i) => step(2 + i / 500, 0, 1));
  expect(fold([started, ...events]).recent.length).toBeLessThan(45);
});

test("a skipped step leaves the loss as it was", () => {
  expect(view([started, step(2, 0, 1, { loss: 3 }), step(3, 0, 2, { loss: null })], 3).loss).toBe(3);
});

test("clients alone are one phase whose round is over when all of them are", () => {
  const alone: RunEvent = { ...first, at: at(0), rounds: 3, localSteps: 2, clients: first.clients.slice(0, 3), scenarios: ["local/0", "local/1", "local/2"] };
  const events = [alone, ...[0, 1, 2].map((c): RunEvent => ({ type: "round-started", at: at(1), scenario: `local/${c}`, round: 1, clients: [c] })), step(2, 0, 2, { scenario: "local/0" }), step(3, 1, 1, { scenario: "local/1" })];
  expect(view(events, 3)).toMatchObject({ phase: "alone", phaseCount: 1, clients: 3, clientsDone: 1, fraction: 3 / 18 });
  expect(view([...events, committed(4, 1, "local/0")], 4)).toMatchObject({ clientsDone: 1, fraction: 3 / 18 });
});

test("over a whole run the share done never falls and ends at one", () => {
  let state = NO_PROGRESS;
  let before = 0;
  for (const event of exampleRun()) {
    state = addEvent(state, event);
    const { fraction } = viewProgress(state, state.lastAtMs);
    expect(fraction).toBeGreaterThanOrEqual(before - 1e-9);
    before = fraction;
  }
  expect(before).toBe(1);
});

test("a stage is shown while it lasts", () => {
  const stage = (done: number): RunEvent => ({ type: "progress", at: at(1), stage: "encoding", done, total: 9 });
  expect(view([started, stage(4)], 1).stage).toEqual({ name: "encoding", done: 4, total: 9 });
  expect(view([started, stage(4), stage(9)], 1).stage).toBeUndefined();
});
