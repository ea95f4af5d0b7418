import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, it } from "vitest";
import { loadExperiment } from "../../src/index.ts";
import type { ExperimentConfig, Plan, RunEvent, RunRecord } from "../../src/index.ts";
import { cellOf, readCell, writeCell } from "./cell.ts";

const root = mkdtempSync(join(tmpdir(), "fedtune-cells-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const demo = fileURLToPath(new URL("../../assets/demo.yaml", import.meta.url));
const load = (...overrides: readonly string[]): ExperimentConfig => loadExperiment(demo, ["benchmarks=[{ name: rouge-l }]", `output=${root}`, ...overrides]).config;

const at = "2026-11-27T12:00:00.000Z";
const hash = "0".repeat(64);
const update = (client: number) => ({ client, weight: 1, examples: 4, tokens: 40, steps: 1, skippedSteps: 0, loss: 2 + client, bytesDown: 100, bytesUp: 110 + 20 * client });
const committed = (scenario: "federated" | "local/0" | "local/1", round: number, seconds: number): RunEvent => ({ type: "round-committed", at, scenario, round, adapter: hash, optimizers: {}, updates: scenario === "federated" ? [update(0), update(1)] : [update(Number(scenario.slice(-1)))], failures: [], seconds, peakBytes: 1000 * seconds });
const asked = (scenario: "base" | "federated" | "local/0" | "local/1"): RunEvent => ({ type: "benchmarked", at, scenario, round: 1, place: 0, label: "rouge-l", benchmark: "rouge-l", asked: 2, counted: 2, figures: [], notes: [], seconds: 1 });

/** A finished run whose answers lie in its folder; its plan holds more than the config, as plans do. */
function record(config: ExperimentConfig): RunRecord {
  const folder = join(root, "run");
  const scores = { base: [0.1, 0.2], federated: [0.5, 0.4], "local-0": [0.2, 0.3], "local-1": [0.4, 0.1] };
  for (const [scenario, [a, b]] of Object.entries(scores)) {
    mkdirSync(join(folder, "evaluation", "rouge-l", scenario), { recursive: true });
    writeFileSync(join(folder, "evaluation", "rouge-l", scenario, "rouge-l.jsonl"), [["x", a], ["y", b]].map(([id, f1]) => `${JSON.stringify({ id, scores: { f1 } })}\n`).join(""));
  }
  const started: RunEvent = { type: "run-started", at, journalVersion: 1, name: "demo", plan: hash, versions: { fedtune: "0.1.0" }, machine: "a machine", clients: [0, 1].map((c) => ({ name: `c${c}`, train: 4, validation: 1, test: 1 })), globalTest: 0, trainableParameters: 10, baseParameters: 100, adapterBytes: 90, rounds: 3, localSteps: 1, batchSize: 4, scenarios: ["federated", "local/0", "local/1"] };
  const events: RunEvent[] = [started, committed("federated", 1, 5), committed("federated", 2, 9), committed("federated", 3, 6), committed("local/0", 1, 1), committed("local/1", 1, 1), asked("base"), asked("federated"), asked("local/0"), asked("local/1"), { type: "run-finished", at, seconds: 33.3 }];
  return { name: "run", folder, events, config: "", plan: { ...config, resolved: { threads: 2 } } as unknown as Plan };
}

it("keeps each question's score by scenario, clients alone as their mean, and what a round took", () => {
  const config = load();
  const cell = cellOf(record(config), config, "lora, seed 1");
  expect(cell).toMatchObject({ federation: "demo", method: "lora", seed: 1, clients: 2, bytesDown: 100, bytesUp: 120, secondsPerRound: 6, peakBytes: 9000, seconds: 33 });
  expect(cell.measures).toEqual([{ label: "rouge-l", benchmark: "rouge-l", better: "higher", scenarios: { base: [[0.1, 1], [0.2, 1]], federated: [[0.5, 1], [0.4, 1]], local: [[0.3, 1], [0.2, 1]] } }]);
  expect(cell.rounds.find((r) => r.scenario === "local")).toEqual({ scenario: "local", round: 1, training: 2.5, validation: null });
});

it("is found again for the same config, wherever model and runs lie, and for no other", () => {
  const config = load();
  writeCell(root, config, cellOf(record(config), config, ""));
  expect(readCell(root, config)?.seconds).toBe(33);
  expect(readCell(root, { ...config, model: `/elsewhere/${config.model.split("/").at(-1)}`, output: "/elsewhere/runs", runtime: { ...config.runtime, workers: 2 } })?.seconds).toBe(33);
  expect(readCell(root, load("training.learning_rate=0.001"))).toBeUndefined();
  expect(readCell(root, load("seed=2"))).toBeUndefined();
});
