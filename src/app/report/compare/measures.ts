/** What one run says of each of the things it compares: perplexities, benchmarks, the validation loss. */
import { makeBenchmarkTable } from "../benchmark-table.ts";
import { makeResultTable } from "../result-table.ts";
import type { Column } from "../result-table.ts";
import { keptValidationLoss } from "../validation.ts";
import type { FoldedRun } from "./rows.ts";

/** What was measured, the same in every run that measured it. */
export interface Measure {
  /** `perplexity/test`, `perplexity/global-test`, `validation-loss`, or label and figure of a benchmark: `gsm8k/accuracy`. */
  readonly key: string;
  /** For people. */
  readonly title: string;
  readonly kind: "perplexity" | "benchmark" | "loss";
  /** Whether it is the first figure of its benchmark; true for what is no benchmark. */
  readonly headline: boolean;
  /** A share lies between 0 and 1; nats are a mean loss per labelled token. */
  readonly unit: "share" | "number" | "nats";
  readonly better: "higher" | "lower";
}

/** One value of a measure. */
export interface Observation {
  readonly measure: Measure;
  readonly value: number;
  /** The benchmark's own 95 % interval; null where there is none. */
  readonly low: number | null;
  readonly high: number | null;
  /** Rows or questions that it rests on; null where the run does not say. */
  readonly questions: number | null;
}

/** The perplexities on rows that nobody trained on; lower is better. */
export const PERPLEXITIES = {
  "all-clients": { key: "perplexity/test", title: "Perplexity on the clients’ test rows" },
  "global-test": { key: "perplexity/global-test", title: "Perplexity on the global test, which no client holds" },
} as const;

const VALIDATION: Measure = { key: "validation-loss", title: "Validation loss of the kept round", kind: "loss", headline: true, unit: "nats", better: "lower" };

/** The key of a figure of a benchmark. */
export const benchmarkKey = (label: string, figure: string): string => `${label}/${figure}`;

/** Everything that a run measured of one column. */
export function observe({ run, facts }: FoldedRun, column: Column): readonly Observation[] {
  const observations: Observation[] = [];
  const table = makeResultTable(facts);
  for (const row of table?.rows ?? []) {
    const value = row.perplexity[column];
    if (row.kind === "client" || value === undefined || (row.kind === "all-clients" && table?.split !== "test")) continue;
    observations.push({ measure: { ...PERPLEXITIES[row.kind], kind: "perplexity", headline: true, unit: "number", better: "lower" }, value, low: null, high: null, questions: row.rows });
  }
  for (const { label, figure, headline, unit, better, questions, cells } of makeBenchmarkTable(facts)) {
    const cell = cells[column];
    if (cell === undefined) continue;
    observations.push({ measure: { key: benchmarkKey(label, figure), title: label === figure ? label : `${label}: ${figure}`, kind: "benchmark", headline, unit, better }, value: cell.value, low: cell.interval?.low ?? null, high: cell.interval?.high ?? null, questions });
  }
  const loss = keptValidationLoss(facts, column, run.plan.federation.keep);
  if (loss !== undefined) observations.push({ measure: VALIDATION, value: loss, low: null, high: null, questions: null });
  return observations;
}
