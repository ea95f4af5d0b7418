/** Benchmarks at the end of a run, by the real engine: asked of all that is compared, by held-out rows, and after a stop only what is missing. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, it } from "vitest";
import { loadExperiment, readRun, resume, run, type RunEvent } from "../src/index.ts";

const folder = mkdtempSync(join(tmpdir(), "fedtune-benchmarks-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const demo = fileURLToPath(new URL("../assets/demo.yaml", import.meta.url));
const benchmarks = "[{ name: perplexity, label: held-out, limit: 12 }, { name: perplexity, limit: 4, compare: [base, local] }]";
const experiment = (output: string): ReturnType<typeof loadExperiment> =>
  loadExperiment(demo, ["federation.rounds=1", "training.local_steps=2", "data.max_examples_per_client=12", "partition={method: iid, clients: 2}", "data.max_tokens=48", "samples.prompts=[]", "compare=[base, local, federated]", `benchmarks=${benchmarks}`, `output=${join(folder, output)}`]);
type Benchmarked = Extract<RunEvent, { type: "benchmarked" }>;
const asked = (events: readonly RunEvent[]): readonly Benchmarked[] => events.filter((event) => event.type === "benchmarked");
const figures = (events: readonly RunEvent[]): readonly unknown[] => asked(events).map(({ scenario, label, figures: [figure] }) => [scenario, label, figure?.value]);

it("asks every scenario each of them once, also where it was stopped in between, with the same answers", async () => {
  const whole = run(experiment("whole"));
  for await (const event of whole) if (event.type === "run-finished") break;
  const going = run(experiment("stopped"));
  let seen = 0;
  for await (const event of going) if (event.type === "benchmarked" && ++seen === 2) break;
  const before = readRun(going.folder).events;
  expect(before.at(-1)?.type).not.toBe("run-finished");
  for await (const event of resume(going.folder)) if (event.type === "run-finished") break;
  const { events } = readRun(going.folder);
  expect(asked(events).map(({ scenario, label }) => `${scenario} ${label}`)).toEqual([
    "base held-out", "base perplexity", "federated held-out", "local/0 held-out", "local/0 perplexity", "local/1 held-out", "local/1 perplexity",
  ]);
  expect(figures(events)).toEqual(figures(readRun(whole.folder).events));
  expect(new Set(asked(events).map(({ asked: questions }) => questions))).toEqual(new Set([12, 4]));
}, 120_000);

it("asks the rows that nobody trains on, and its loss is that of the run's own evaluation", async () => {
  const all = loadExperiment(demo, ["federation.rounds=1", "training.local_steps=1", "data.max_examples_per_client=12", "partition={method: iid, clients: 2}", "data.max_tokens=48", "samples.prompts=[]", "compare=[base, federated]", "benchmarks=[{ name: perplexity }]", `output=${join(folder, "all")}`]);
  const going = run(all);
  for await (const event of going) if (event.type === "run-finished") break;
  const { events } = readRun(going.folder);
  const rows = readFileSync(join(going.folder, "evaluation", "held-out.jsonl"), "utf8").trimEnd().split("\n");
  const started = events.find((event) => event.type === "run-started");
  expect(rows).toHaveLength(started?.clients.reduce((sum, { test }) => sum + test, 0) ?? 0);
  for (const scenario of ["base", "federated"] as const) {
    const test = events.filter((event) => event.type === "evaluated").find((event) => event.scenario === scenario && event.split === "test");
    const benchmark = asked(events).find((event) => event.scenario === scenario);
    expect(benchmark?.figures[0]?.value).toBeCloseTo(Math.exp((test?.pooled.nll ?? NaN) / (test?.pooled.labelledTokens ?? NaN)), 2);
  }
}, 120_000);
