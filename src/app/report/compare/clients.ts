/** What was measured of single clients: perplexity on a client's own test rows, and what a client alone can do. */
import { wholeFigures } from "../benchmark-table.ts";
import { COLUMNS, makeResultTable } from "../result-table.ts";
import type { Column } from "../result-table.ts";
import { benchmarkKey, PERPLEXITIES } from "./measures.ts";
import type { Observation } from "./measures.ts";
import { holderOf, seedsOf } from "./rows.ts";
import type { FoldedRun, Row, RowName } from "./rows.ts";
import { SCENARIO_OF } from "./tables.ts";
import type { ComparedScenario } from "./tables.ts";

/** One value of one client in one run; `key` is that of the measure whose table has the value over all clients. */
export interface ClientValue extends Omit<Observation, "measure"> {
  readonly key: string;
  /** The client's name. */
  readonly client: string;
}

export interface ClientFigure extends RowName, ClientValue {
  readonly scenario: ComparedScenario;
  readonly seed: number;
  /** The run's folder. */
  readonly run: string;
}

/** Every client's values, by rows, seeds and scenarios in order. */
export function makeClientFigures(rows: readonly Row[]): readonly ClientFigure[] {
  return rows.flatMap((row) =>
    seedsOf(row).flatMap((seed) =>
      COLUMNS.flatMap((column) => {
        const holder = holderOf(row, column, seed);
        return holder === undefined ? [] : valuesOf(holder, column).map((value) => ({ ...row.name, scenario: SCENARIO_OF[column], seed, run: holder.run.name, ...value }));
      }),
    ),
  );
}

function valuesOf(folded: FoldedRun, column: Column): readonly ClientValue[] {
  return [...perplexities(folded, column), ...(column === "alone" ? scoresAlone(folded) : [])];
}

/** The perplexity on each client's test rows; of clients alone, each by its own adapter. */
function perplexities({ facts }: FoldedRun, column: Column): readonly ClientValue[] {
  const table = makeResultTable(facts);
  if (table?.split !== "test") return [];
  return table.rows.flatMap(({ kind, name, rows, perplexity: { [column]: value } }) => (kind !== "client" || value === undefined ? [] : [{ key: PERPLEXITIES["all-clients"].key, client: name, value, low: null, high: null, questions: rows }]));
}

/** The whole benchmarks that each client's own adapter was asked. */
function scoresAlone({ facts }: FoldedRun): readonly ClientValue[] {
  return (facts.started?.clients ?? []).flatMap(({ name: client }, index) =>
    facts.benchmarks.filter(({ scenario }) => scenario === `local/${index}`).flatMap(({ label, figures }) =>
      wholeFigures(figures).flatMap(({ name, value, low, high, questions }) => (value === null ? [] : [{ key: benchmarkKey(label, name), client, value, low, high, questions }])),
    ),
  );
}
