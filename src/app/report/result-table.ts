/**
 * The final table of a run: perplexity of the base, of each client alone, of all data pooled and of the federation, per
 * client, over all clients and on the global test. Figures only; the terminal and the report lay them out.
 */
import type { Evaluated, RunFacts, Scenario } from "./facts.ts";

/** What was compared: the base model, a client's own data, everybody's data at one place, the federation. */
export type Column = "base" | "alone" | "pooled" | "federated";
export const COLUMNS: readonly Column[] = ["base", "alone", "pooled", "federated"];

export interface ResultRow {
  readonly kind: "client" | "all-clients" | "global-test";
  readonly name: string;
  /** Number of rows that were evaluated. */
  readonly rows: number;
  /** Perplexity (exp of the mean loss per labelled token); absent where it was not evaluated. */
  readonly perplexity: Readonly<Partial<Record<Column, number>>>;
  /** The column with the lowest perplexity; absent with fewer than two. */
  readonly best: Column | undefined;
}

/** How many examples a scenario trained on, repetitions counted. */
export interface ExamplesSeen {
  readonly column: Column;
  readonly examples: number;
  /** Least and most per client, for `alone`. */
  readonly perClient?: readonly [number, number];
}

export interface ResultTable {
  /** Which of the clients' rows were evaluated: test, or validation where the run has no test rows. */
  readonly split: "test" | "validation";
  /** The columns that have at least one figure, in order. */
  readonly columns: readonly Column[];
  readonly rows: readonly ResultRow[];
  readonly seen: readonly ExamplesSeen[];
}

/** exp of the mean loss; undefined without labelled tokens or where the loss was not finite. */
function perplexityOf(loss: { readonly nll: number | null; readonly labelledTokens: number } | undefined): number | undefined {
  if (loss === undefined || loss.nll === null || loss.labelledTokens === 0) return undefined;
  return Math.exp(loss.nll / loss.labelledTokens);
}

/** The final table from the last evaluation of each scenario; undefined before anything was evaluated. */
export function makeResultTable(facts: RunFacts): ResultTable | undefined {
  const split = facts.evaluations.some((e) => e.split === "test") ? "test" : "validation";
  const own = lastByScenario(facts.evaluations, split);
  const globalTest = lastByScenario(facts.evaluations, "global-test");
  if (own.size === 0 && globalTest.size === 0) return undefined;
  const clients = facts.started?.clients ?? [];
  const rows: ResultRow[] = clients.map((client, index) =>
    makeRow("client", client.name, lossesOf(own, (e) => e.clients.find((c) => c.client === index), [`local/${index}`])),
  );
  const locals = [...new Set([...own.keys(), ...globalTest.keys()])].filter((s) => s.startsWith("local/"));
  const allLocals = locals.length === clients.length ? locals : [];
  rows.push(makeRow("all-clients", "all clients", lossesOf(own, (e) => e.pooled, allLocals)));
  if (globalTest.size > 0) rows.push(makeRow("global-test", "global test", lossesOf(globalTest, (e) => e.pooled, allLocals)));
  const shown = rows.filter((row) => row.rows > 0);
  const columns = COLUMNS.filter((column) => shown.some((row) => row.perplexity[column] !== undefined));
  return { split, columns, rows: shown, seen: COLUMNS.filter((c) => columns.includes(c)).map((column) => countExamples(facts, column)) };
}

type LossSum = Evaluated["pooled"];

function lastByScenario(evaluations: readonly Evaluated[], split: Evaluated["split"]): ReadonlyMap<string, Evaluated> {
  return new Map(evaluations.filter((e) => e.split === split).map((e) => [e.scenario, e]));
}

function lossesOf(
  evaluations: ReadonlyMap<string, Evaluated>,
  pick: (event: Evaluated) => LossSum | undefined,
  locals: readonly string[],
): Partial<Record<Column, LossSum>> {
  const of = (scenario: string): LossSum | undefined => {
    const event = evaluations.get(scenario);
    return event === undefined ? undefined : pick(event);
  };
  const base = of("base");
  const pooled = of("global");
  const federated = of("federated");
  const alone = addLosses(locals.map(of));
  return { ...(base && { base }), ...(alone && { alone }), ...(pooled && { pooled }), ...(federated && { federated }) };
}

/**
 * Sum over the clients alone; undefined where one is missing. Over different rows this is their pooled loss; over the same
 * rows (the global test) its mean is the average of the clients' mean losses.
 */
export function addLosses(losses: readonly (LossSum | undefined)[]): LossSum | undefined {
  if (losses.length === 0) return undefined;
  let sum: LossSum = { nll: 0, labelledTokens: 0, examples: 0 };
  for (const loss of losses) {
    if (loss === undefined) return undefined;
    sum = {
      nll: sum.nll === null || loss.nll === null ? null : sum.nll + loss.nll,
      labelledTokens: sum.labelledTokens + loss.labelledTokens,
      examples: sum.examples + loss.examples,
    };
  }
  return sum;
}

function makeRow(kind: ResultRow["kind"], name: string, losses: Partial<Record<Column, LossSum>>): ResultRow {
  const perplexity: Partial<Record<Column, number>> = {};
  let best: Column | undefined;
  for (const column of COLUMNS) {
    const value = perplexityOf(losses[column]);
    if (value === undefined) continue;
    perplexity[column] = value;
    const leader = best === undefined ? undefined : perplexity[best];
    if (leader === undefined || value < leader) best = column;
  }
  const rows = (losses.federated ?? losses.base ?? losses.pooled ?? losses.alone)?.examples ?? 0;
  return { kind, name, rows, perplexity, best: Object.keys(perplexity).length > 1 ? best : undefined };
}

function countExamples(facts: RunFacts, column: Column): ExamplesSeen {
  if (column === "base") return { column, examples: 0 };
  const isOf = (scenario: Scenario): boolean => (column === "alone" ? scenario.startsWith("local/") : scenario === (column === "pooled" ? "global" : "federated"));
  const sums = [...facts.commits].filter(([scenario]) => isOf(scenario)).map(([, rounds]) => rounds.reduce((sum, { updates }) => sum + updates.reduce((n, u) => n + u.examples, 0), 0));
  const examples = sums.reduce((a, b) => a + b, 0);
  return column === "alone" && sums.length > 0 ? { column, examples, perClient: [Math.min(...sums), Math.max(...sums)] } : { column, examples };
}
