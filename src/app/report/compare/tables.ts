/** The tables of a comparison: for each measure, what every row reached under each scenario, over its seeds. */
import { COLUMNS } from "../result-table.ts";
import type { Column } from "../result-table.ts";
import { observe } from "./measures.ts";
import type { Measure, Observation } from "./measures.ts";
import { holderOf, seedsOf } from "./rows.ts";
import type { FoldedRun, Row, RowName } from "./rows.ts";
import { deviationOf, meanOf } from "./statistics.ts";

/** What is compared, by the names of the config's `compare`. */
export type ComparedScenario = "base" | "local" | "global" | "federated";
export const SCENARIO_OF = { base: "base", alone: "local", pooled: "global", federated: "federated" } as const satisfies Record<Column, ComparedScenario>;
export const COMPARED: readonly ComparedScenario[] = COLUMNS.map((column) => SCENARIO_OF[column]);

/** What one run measured; `run` is its folder's name. */
export interface SeedValue extends Omit<Observation, "measure"> {
  readonly seed: number;
  readonly run: string;
}

export interface Cell {
  readonly mean: number;
  /** Sample standard deviation over the seeds; null with one. */
  readonly deviation: number | null;
  /** Number of seeds. */
  readonly seeds: number;
  readonly values: readonly SeedValue[];
}

export interface MeasureRow extends RowName {
  readonly cells: Readonly<Partial<Record<ComparedScenario, Cell>>>;
  /** The scenario of the best mean; null with fewer than two. */
  readonly best: ComparedScenario | null;
}

export interface MeasureTable extends Measure {
  readonly rows: readonly MeasureRow[];
}

/** A measure's values under one scenario, found in one run of one row. */
interface Found extends Observation {
  readonly row: Row;
  readonly folded: FoldedRun;
  readonly scenario: ComparedScenario;
}

/** One table for each measure: perplexities first, then benchmarks in the order in which they appear, then the validation loss. */
export function makeTables(rows: readonly Row[]): readonly MeasureTable[] {
  const found = rows.flatMap((row) => seedsOf(row).flatMap((seed) => COLUMNS.flatMap((column) => findIn(row, column, seed))));
  const kinds: readonly Measure["kind"][] = ["perplexity", "benchmark", "loss"];
  const measures = [...new Map(found.map(({ measure }) => [measure.key, measure])).values()].toSorted((a, b) => kinds.indexOf(a.kind) - kinds.indexOf(b.kind));
  return measures.map((measure) => {
    const of = found.filter((f) => f.measure.key === measure.key);
    return { ...measure, rows: rows.map((row) => makeRow(row, of, measure.better)).filter(({ cells }) => Object.keys(cells).length > 0) };
  });
}

function findIn(row: Row, column: Column, seed: number): Found[] {
  const folded = holderOf(row, column, seed);
  return folded === undefined ? [] : observe(folded, column).map((observation) => ({ ...observation, row, folded, scenario: SCENARIO_OF[column] }));
}

function makeRow(row: Row, found: readonly Found[], better: Measure["better"]): MeasureRow {
  const cells: Partial<Record<ComparedScenario, Cell>> = {};
  for (const scenario of COMPARED) {
    const all = found.filter((f) => f.scenario === scenario);
    const own = all.filter((f) => f.row === row);
    const values = own.length > 0 || scenario !== "base" ? own : baseOfOthers(row, all);
    if (values.length > 0) cells[scenario] = makeCell(values);
  }
  return { ...row.name, cells, best: bestOf(cells, better) };
}

/** The base as another row of the same federation judged it, where model and data are the same: it has no method and no seed. */
function baseOfOthers(row: Row, base: readonly Found[]): readonly Found[] {
  const same = base.filter((f) => f.row.name.federation === row.name.federation && row.runs.some((own) => judgesAlike(own, f.folded)));
  return [...new Map(same.toReversed().map((f) => [f.folded.run.plan.seed, f])).values()].toSorted((a, b) => a.folded.run.plan.seed - b.folded.run.plan.seed);
}

function judgesAlike({ run: { plan: a } }: FoldedRun, { run: { plan: b } }: FoldedRun): boolean {
  return (["data_sha256", "model_sha256", "base_precision", "compute"] as const).every((field) => a.resolved[field] === b.resolved[field]);
}

function makeCell(found: readonly Found[]): Cell {
  const values = found.map(({ value, low, high, questions, folded }): SeedValue => ({ seed: folded.run.plan.seed, run: folded.run.name, value, low, high, questions }));
  const all = values.map(({ value }) => value);
  return { mean: meanOf(all), deviation: deviationOf(all) ?? null, seeds: all.length, values };
}

function bestOf(cells: MeasureRow["cells"], better: Measure["better"]): ComparedScenario | null {
  let best: ComparedScenario | null = null;
  for (const scenario of COMPARED) {
    const [value, leader] = [cells[scenario]?.mean, best === null ? undefined : cells[best]?.mean];
    if (value !== undefined && (leader === undefined || (better === "higher" ? value > leader : value < leader))) best = scenario;
  }
  return Object.keys(cells).length < 2 ? null : best;
}
