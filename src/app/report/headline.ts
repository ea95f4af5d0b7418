/** The result of a run in one sentence, for the top of the report and the end of the terminal's output. */
import type { RunFacts } from "./facts.ts";
import { formatPerplexity, formatThings } from "./format.ts";
import type { ResultTable } from "./result-table.ts";

/** One sentence: what the federation reached, and against what. Says so where the run has not come that far. */
export function writeHeadline(facts: RunFacts, table: ResultTable | undefined): string {
  const { started } = facts;
  if (started === undefined) return "The run has not started yet.";
  const rounds = facts.commits.get("federated")?.length ?? 0;
  const row = table?.rows.find((r) => r.kind === "global-test") ?? table?.rows.find((r) => r.kind === "all-clients");
  const federated = row?.perplexity.federated;
  if (row === undefined || table === undefined || federated === undefined || rounds === 0) {
    return `${formatThings(rounds, "round")} of ${started.rounds} done with ${formatThings(started.clients.length, "client")}; no final evaluation yet.`;
  }
  const where = row.kind === "global-test" ? "the global test" : `the clients' own ${table.split} rows`;
  const { base, alone, pooled } = row.perplexity;
  const change = base === undefined ? `reached ${formatPerplexity(federated)}` : `${describeChange(base, federated)} from ${formatPerplexity(base)} to ${formatPerplexity(federated)}`;
  const others = [
    ...(alone === undefined ? [] : [`clients alone reach ${formatPerplexity(alone)} on average`]),
    ...(pooled === undefined ? [] : [`all data pooled ${alone === undefined ? "reaches " : ""}${formatPerplexity(pooled)}`]),
  ];
  const tail = others.length === 0 ? "" : `; ${others.join(", ")}`;
  const so = facts.finished === undefined ? `Not finished, ${rounds} of ${formatThings(started.rounds, "round")}` : formatThings(rounds, "round");
  return `${so} with ${formatThings(started.clients.length, "client")}: perplexity on ${where} ${change}${tail}.`;
}

function describeChange(before: number, after: number): string {
  if (Math.abs(after / before - 1) < 0.0005) return "stayed";
  return after < before ? "fell" : "rose";
}
