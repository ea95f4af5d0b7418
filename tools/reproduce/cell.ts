/** One cell of the reproduction: what a run of one federation, method and seed came to, small enough to be kept in the repository. */
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { z } from "zod";
import { canonicalJson, sha256 } from "../../src/core/base/hash.ts";
import { ensureWritableFolder, writeFileAtomic } from "../../src/core/index.ts";
import { summarise } from "../../src/index.ts";
import type { ExperimentConfig, RunRecord } from "../../src/index.ts";

export const SCENARIOS = ["base", "local", "global", "federated"] as const;
export type Scenario = (typeof SCENARIOS)[number];

/** What a question scored: numerator and denominator of its part in the whole (a loss: nats and tokens; else the score and 1). */
const pairSchema = z.tuple([z.number(), z.number()]);
export type Pair = z.infer<typeof pairSchema>;

const measureSchema = z.strictObject({
  label: z.string(),
  benchmark: z.string(),
  better: z.enum(["higher", "lower"]),
  /** By scenario what each question scored, in the same order of questions; `local`: the mean over clients. */
  scenarios: z.partialRecord(z.enum(SCENARIOS), z.array(pairSchema)),
});
export type Measure = z.infer<typeof measureSchema>;

const number = z.number().nullable();
const cellSchema = z.strictObject({
  version: z.literal(1),
  /** SHA-256 over the config without paths that differ from machine to machine: a cell of another config is made anew. */
  key: z.string(),
  federation: z.string(),
  method: z.string(),
  /** Which settings set it apart. */
  label: z.string(),
  seed: z.number(),
  clients: z.number(),
  machine: z.string(),
  versions: z.record(z.string(), z.string()),
  /** Seconds of the whole run. */
  seconds: z.number(),
  trainableParameters: z.number(),
  /** Bytes of one message to a client and of one back, as sent. */
  bytesDown: z.number(),
  bytesUp: z.number(),
  /** Median over the federation's rounds. */
  secondsPerRound: number,
  /** Most resident memory seen in a round of the federation (bytes). */
  peakBytes: number,
  /** Training and validation loss by round (nats per labelled token); `local`: the mean over clients. */
  rounds: z.array(z.strictObject({ scenario: z.enum(["federated", "global", "local"]), round: z.number(), training: number, validation: number })),
  measures: z.array(measureSchema),
});
export type Cell = z.infer<typeof cellSchema>;

/** The config without what differs from machine to machine and decides nothing. */
function keyOf({ output: _output, runtime: _runtime, model, data, ...config }: ExperimentConfig): string {
  const { path, ...rows } = data;
  return sha256(canonicalJson({ ...config, model: basename(model), data: { ...rows, ...(path !== undefined && { path: basename(path) }) } }));
}

/** `fed-dolly-lora-seed1`. */
export function nameOfCell(config: ExperimentConfig): string {
  return `${config.name}-${config.adapter.method}-seed${config.seed}`;
}

/** The finished cell of a config; undefined where there is none yet. Throws where the file is damaged. */
export function readCell(folder: string, config: ExperimentConfig): Cell | undefined {
  const path = join(folder, `${nameOfCell(config)}.json`);
  if (!existsSync(path)) return undefined;
  const parsed = cellSchema.safeParse(JSON.parse(readFileSync(path, "utf8")));
  if (!parsed.success) throw new Error(`${path}: expected a cell as this tool writes it, got ${parsed.error.issues[0]?.path.join(".") ?? ""}: ${parsed.error.issues[0]?.message ?? ""}. Delete it to make it again.`);
  return parsed.data.key === keyOf(config) ? parsed.data : undefined;
}

/** Writes a cell, on few lines. */
export function writeCell(folder: string, config: ExperimentConfig, cell: Cell): void {
  ensureWritableFolder(folder);
  const { measures, rounds, ...rest } = cell;
  const lines = [JSON.stringify(rest).slice(0, -1), `"rounds":${JSON.stringify(rounds)}`, `"measures":[\n${measures.map((m) => JSON.stringify(m)).join(",\n")}\n]}`];
  writeFileAtomic(join(folder, `${nameOfCell(config)}.json`), `${lines.join(",\n")}\n`);
}

/** A finished run of a config as a cell. */
export function cellOf(run: RunRecord, config: ExperimentConfig, label: string): Cell {
  const started = only(run, "run-started");
  const finished = only(run, "run-finished");
  if (started === undefined || finished === undefined) throw new Error(`${run.folder}: expected a finished run`);
  const summary = summarise(run.events);
  const federated = run.events.filter((e) => e.type === "round-committed").filter((e) => e.scenario === "federated");
  const messages = federated.flatMap(({ updates }) => updates);
  return {
    version: 1, key: keyOf(config), federation: run.plan.name, method: run.plan.adapter.method, label, seed: run.plan.seed, clients: started.clients.length,
    machine: started.machine, versions: started.versions, seconds: Math.round(finished.seconds), trainableParameters: started.trainableParameters,
    bytesDown: Math.round(mean(messages.map(({ bytesDown }) => bytesDown))), bytesUp: Math.round(mean(messages.map(({ bytesUp }) => bytesUp))),
    secondsPerRound: medianOrNull(federated.map(({ seconds }) => seconds)), peakBytes: federated.length === 0 ? null : Math.max(...federated.map(({ peakBytes }) => peakBytes ?? 0)),
    rounds: roundsOf(summary.rounds), measures: run.plan.benchmarks.map((benchmark) => measureOf(run, benchmark)).filter((m) => m !== undefined),
  };
}

function only<Type extends RunRecord["events"][number]["type"]>(run: RunRecord, type: Type): Extract<RunRecord["events"][number], { type: Type }> | undefined {
  return run.events.find((event): event is Extract<RunRecord["events"][number], { type: Type }> => event.type === type);
}

const mean = (values: readonly number[]): number => (values.length === 0 ? 0 : values.reduce((a, b) => a + b, 0) / values.length);

function medianOrNull(values: readonly number[]): number | null {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length === 0 ? null : ((sorted[Math.floor(middle - 0.5)] ?? 0) + (sorted[Math.floor(middle)] ?? 0)) / 2;
}

type Round = ReturnType<typeof summarise>["rounds"][number];

function roundsOf(rounds: readonly Round[]): Cell["rounds"] {
  const named = rounds.map((r) => ({ ...r, kind: r.scenario.startsWith("local/") ? ("local" as const) : r.scenario === "global" ? ("global" as const) : ("federated" as const) }));
  const groups = Map.groupBy(named, ({ kind, round }) => `${kind} ${round}`);
  const meanOf = (values: readonly (number | null)[]): number | null => (values.some((value) => value === null) ? null : digits(mean(values.map((value) => value ?? 0))));
  return [...groups.values()].map((group) => ({ scenario: group[0]?.kind ?? "federated", round: group[0]?.round ?? 0, training: meanOf(group.map((r) => r.trainingLoss)), validation: meanOf(group.map((r) => r.validationLoss)) }));
}

const digits = (value: number): number => Number(value.toPrecision(7));

type PairOf = (scores: Readonly<Record<string, number>>) => Pair;
/** What a benchmark's headline rests on, as numerator and denominator; of all others the share of right answers. */
const HEADLINES: Readonly<Record<string, PairOf>> = {
  perplexity: ({ nll = NaN, tokens = NaN }) => [digits(nll), tokens],
  "rouge-l": ({ f1 = NaN }) => [digits(f1), 1],
};
const share: PairOf = (scores) => [scores["correct"] ?? scores["pass@1"] ?? NaN, 1];

const answerSchema = z.object({ id: z.string(), scores: z.record(z.string(), z.number()), skipped: z.string().optional() });

function answersIn(path: string, pair: PairOf): ReadonlyMap<string, Pair> {
  const lines = readFileSync(path, "utf8").trimEnd().split("\n").map((line) => answerSchema.parse(JSON.parse(line)));
  return new Map(lines.filter(({ skipped }) => skipped === undefined).map(({ id, scores }) => [id, pair(scores)]));
}

function measureOf({ folder, events, plan }: RunRecord, benchmark: ExperimentConfig["benchmarks"][number]): Measure | undefined {
  const { name, label = name } = benchmark;
  const place = plan.benchmarks.indexOf(benchmark);
  const asked = events.filter((e) => e.type === "benchmarked").filter((e) => e.place === place);
  if (asked.length === 0) return undefined;
  const better = asked[0]?.figures[0]?.better ?? "higher";
  const pair = HEADLINES[name] ?? share;
  const answers = new Map(asked.map(({ scenario }) => [scenario, answersIn(join(folder, "evaluation", label, scenario.replace("/", "-"), `${name}.jsonl`), pair)]));
  const ids = [...([...answers.values()][0]?.keys() ?? [])].toSorted();
  const scenarios: Partial<Record<Scenario, Pair[]>> = {};
  for (const kind of SCENARIOS) {
    const own = [...answers].filter(([scenario]) => scenario === kind || scenario.startsWith(`${kind}/`)).map(([, of]) => of);
    if (own.length === 0) continue;
    scenarios[kind] = ids.map((id): Pair => {
      const pairs = own.map((of): Pair => of.get(id) ?? [NaN, 1]);
      return [digits(mean(pairs.map(([top]) => top))), mean(pairs.map(([, bottom]) => bottom))];
    });
  }
  return { label, benchmark: name, better, scenarios };
}
