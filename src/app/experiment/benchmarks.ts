/** What everything that an experiment compares can do: its benchmarks, asked at the end. Nothing is selected by them. */
import { dirname, join } from "node:path";
import { FedtuneError } from "../../core/base/errors.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import { ensureWritableFolder, writeFileAtomic } from "../../core/store/files.ts";
import type { JournalEvent, Scenario, Tick } from "../../federation/rounds/events.ts";
import { keptRound, type RunState } from "../../federation/rounds/replay.ts";
import { bindAdapter } from "../../llm/adapters/all.ts";
import type { Figure } from "../../llm/evaluation/benchmark.ts";
import { askBenchmark, findBenchmark } from "../../llm/evaluation/evaluate.ts";
import { cacheBytesPerToken } from "../../llm/evaluation/open-model.ts";
import { checkSettings, fieldNames } from "../../llm/evaluation/settings.ts";
import type { Trainer } from "../../llm/training/types.ts";
import type { PreparedData } from "./data.ts";
import type { PreparedModel } from "./model.ts";
import type { Plan } from "./plan.ts";
import type { ExperimentConfig } from "./schema.ts";

type Judged = Scenario | "base";
type BenchmarkConfig = ExperimentConfig["benchmarks"][number];

/** Folder of answers in a run's folder. */
const ANSWERS = "evaluation";
/** The rows that benchmarks on rows are asked, in that folder. */
const HELD_OUT = "held-out.jsonl";

/** What of a benchmark's entry in the config is no setting of it. */
function settingsOf({ name: _name, label: _label, limit: _limit, compare: _compare, ...settings }: BenchmarkConfig): Readonly<Record<string, unknown>> {
  return settings;
}

/** What a benchmark is called in tables and in the folder of answers. */
const labelOf = ({ name, label = name }: BenchmarkConfig): string => label;

/**
 * Checks names, settings and labels, before anything is trained.
 * @throws FedtuneError("config") naming benchmark and setting, with the nearest name; or the label that two have
 */
export function checkBenchmarks(benchmarks: readonly BenchmarkConfig[]): void {
  for (const benchmark of benchmarks) {
    const { schema, onRows } = findBenchmark(benchmark.name);
    checkSettings(benchmark.name, schema, { ...(onRows === true && { path: HELD_OUT }), ...settingsOf(benchmark) });
  }
  const labels = benchmarks.map(labelOf);
  const twice = labels.find((label, i) => labels.indexOf(label) !== i);
  if (twice !== undefined) throw new FedtuneError("config", { where: "benchmarks", expected: "a label of its own for each", got: `\`${twice}\` twice`, remedy: "Give one of them a `label`" });
}

export interface BenchmarkStage {
  readonly folder: string;
  readonly plan: Plan;
  readonly model: PreparedModel;
  readonly data: PreparedData;
  readonly trainer: Trainer;
  readonly state: () => RunState;
  readonly append: (event: JournalEvent) => void;
  readonly tick: (tick: Tick) => void;
  readonly getTensors: (hash: string) => NamedTensors<"float32">;
  readonly now: () => string;
  readonly clock: () => Date;
  readonly signal: AbortSignal;
}

/** Asks every scenario every benchmark that the journal lacks. */
export async function askBenchmarks(scenarios: readonly Judged[], stage: BenchmarkStage): Promise<void> {
  const { plan, model, state, getTensors } = stage;
  if (plan.benchmarks.length === 0) return;
  const adapter = bindAdapter(plan.adapter, model.model);
  for (const scenario of scenarios) {
    const record = scenario === "base" ? undefined : keptRound(state(), scenario, plan.federation.keep);
    const tensors = record === undefined ? undefined : getTensors(record.adapter);
    const own = tensors === undefined ? 0 : adapter.virtualTokens + adapter.prefixTokens;
    const judged = {
      trainer: stage.trainer, tokenizer: model.tokenizer, adapter: tensors,
      contextTokens: model.model.maxPositions - own, cacheBytesPerToken: cacheBytesPerToken(model.model),
      // The run's own, which goes on.
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    for (const [place, benchmark] of plan.benchmarks.entries()) {
      if (benchmark.compare !== undefined && !benchmark.compare.some((kind) => scenario === kind || scenario.startsWith(`${kind}/`))) continue;
      if (state().benchmarks.some((done) => done.scenario === scenario && done.place === place)) continue;
      await askOne(judged, { scenario, round: record?.round ?? 0, place, benchmark }, stage);
    }
  }
}

interface Asked {
  readonly scenario: Judged;
  readonly round: number;
  readonly place: number;
  readonly benchmark: BenchmarkConfig;
}

async function askOne(judged: Parameters<typeof askBenchmark>[0], { scenario, round, place, benchmark }: Asked, stage: BenchmarkStage): Promise<void> {
  const { append, tick, now, clock, signal, plan } = stage;
  const { name, limit } = benchmark;
  const label = labelOf(benchmark);
  const begun = clock().getTime();
  const out = join(stage.folder, ANSWERS, label, scenario.replace("/", "-"));
  const request = { name, settings: { ...rowsOf(benchmark, stage), ...settingsOf(benchmark) } };
  const result = await askBenchmark(judged, request, { seed: plan.seed, out, ...(limit !== undefined && { limit }) }, {
    signal,
    onProgress: ({ done, total }) => tick({ type: "progress", at: now(), stage: `${label}: ${scenario}`, done, total }),
  });
  const { asked, counted, notes } = result;
  append({ type: "benchmarked", at: now(), scenario, round, place, label, benchmark: name, asked, counted, figures: result.figures.map(toJournal), notes: [...notes, ...result.skipped.map(({ reason, questions }) => `${questions} left out: ${reason}`)], seconds: (clock().getTime() - begun) / 1000 });
}

/** The experiment's own held-out rows as settings of a benchmark on rows; nothing where it has a path or asks no rows. */
function rowsOf(benchmark: BenchmarkConfig, { folder, data: { heldOut, settings } }: BenchmarkStage): Readonly<Record<string, unknown>> {
  const { onRows, schema } = findBenchmark(benchmark.name);
  if (onRows !== true || benchmark["path"] !== undefined) return {};
  const path = join(folder, ANSWERS, HELD_OUT);
  ensureWritableFolder(dirname(path));
  writeFileAtomic(path, heldOut.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const { fields, template, system, max_tokens, overflow } = settings;
  const all = { path, format: "auto", split: "test", fields, template, system, max_tokens, overflow };
  const known = fieldNames(schema);
  return Object.fromEntries(Object.entries(all).filter(([key, value]) => known.includes(key) && value !== undefined));
}

/** Numbers that JSON has no word for are null. */
function toJournal({ group, ...figure }: Figure): Extract<JournalEvent, { type: "benchmarked" }>["figures"][number] {
  const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);
  return { ...figure, ...(group && { group: { ...group } }), value: finite(figure.value), low: finite(figure.low), high: finite(figure.high) };
}
