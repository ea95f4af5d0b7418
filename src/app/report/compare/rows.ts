/** Which runs belong together: a row of the comparison is one federation under one method with one choice of the settings that vary. */
import { collectFacts } from "../facts.ts";
import type { RunFacts } from "../facts.ts";
import type { ReportedRun } from "../reported-run.ts";
import type { Column } from "../result-table.ts";
import { differingFields } from "./settings.ts";

/** A run with what its events say. */
export interface FoldedRun {
  readonly run: ReportedRun;
  readonly facts: RunFacts;
}

/** What a row is called. */
export interface RowName {
  readonly federation: string;
  readonly method: string;
  /** Fields of the config, and their values, in which runs of this federation and method differ. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface Row {
  readonly name: RowName;
  readonly runs: readonly FoldedRun[];
}

/** Folds each run's events. */
export function foldRuns(runs: readonly ReportedRun[]): readonly FoldedRun[] {
  return runs.map((run) => ({ run, facts: collectFacts(run.events) }));
}

/** The rows in the order in which federations, methods and settings first appear. Seeds, and what was compared, make no rows of their own. */
export function groupRuns(runs: readonly FoldedRun[]): readonly Row[] {
  const federations = Map.groupBy(runs, ({ run }) => run.plan.name);
  return [...federations].flatMap(([federation, all]) =>
    [...Map.groupBy(all, ({ run }) => run.plan.adapter.method)].flatMap(([method, of]) => {
      const settings = differingFields(of.map(({ run }) => run.plan));
      const rows = Map.groupBy(of, (_, i) => JSON.stringify(settings[i]));
      return [...rows.values()].map((members): Row => ({ name: { federation, method, settings: settings[of.indexOf(members[0] ?? of[0] as FoldedRun)] ?? {} }, runs: members }));
    }),
  );
}

/** "lora", or "lora, training.learning_rate 0.001" where settings vary. */
export function labelOf({ method, settings }: RowName): string {
  return [method, ...Object.entries(settings).map(([field, value]) => `${field} ${value}`)].join(", ");
}

/** The seeds of a row, in order. */
export function seedsOf({ runs }: Row): readonly number[] {
  return [...new Set(runs.map(({ run }) => run.plan.seed))].sort((a, b) => a - b);
}

/** Whether a run holds anything of what was compared. */
export function holds({ facts }: FoldedRun, column: Column): boolean {
  const isOf = (scenario: string): boolean => (column === "alone" ? scenario.startsWith("local/") : scenario === (column === "pooled" ? "global" : column));
  return facts.evaluations.some((e) => isOf(e.scenario)) || facts.benchmarks.some((e) => isOf(e.scenario)) || [...facts.commits.keys()].some(isOf);
}

/** The run that holds for a seed: of several the one that finished last, and a finished one before those that did not. */
export function holderOf(row: Row, column: Column, seed: number): FoldedRun | undefined {
  const candidates = row.runs.filter((folded) => folded.run.plan.seed === seed && holds(folded, column));
  const order = ({ facts }: FoldedRun): string => (facts.finished === undefined ? `0 ${facts.started?.at ?? ""}` : `1 ${facts.finished.at}`);
  return candidates.toSorted((a, b) => (order(a) < order(b) ? -1 : order(a) > order(b) ? 1 : 0)).at(-1);
}
