/**
 * The report of one run or of several side by side: one HTML file that holds everything, opens without a network and runs
 * no script. Reads nothing and writes nothing; the figures come from `facts.ts` and `result-table.ts`.
 */
import { collectFacts } from "./facts.ts";
import type { RunEvent, RunFacts } from "./facts.ts";
import { formatPerplexity } from "./format.ts";
import { writeHeadline } from "./headline.ts";
import { html, trusted } from "./html.ts";
import type { Markup } from "./html.ts";
import { COLUMNS, makeResultTable } from "./result-table.ts";
import type { ResultTable } from "./result-table.ts";
import { bytesSection, crossTermSection, lossSection, partitionSection } from "./sections/charts.ts";
import type { CategoryCounts } from "./sections/charts.ts";
import { resultsSection } from "./sections/results.ts";
import { samplesSection, setupSection, troubleSection } from "./sections/texts.ts";
import { STYLE } from "./style.ts";

export interface ReportedRun {
  readonly name: string;
  readonly events: Iterable<RunEvent>;
  /** The config as resolved, as YAML text. */
  readonly config: string;
  /** Shown beside the config; absent: the versions that the run recorded. */
  readonly versions?: Readonly<Record<string, string>>;
  /** Rows by category and client, where they are known. */
  readonly categories?: CategoryCounts;
}

interface Prepared {
  readonly run: ReportedRun;
  readonly facts: RunFacts;
  readonly table: ResultTable | undefined;
}

/** The report as the text of one HTML file. All text that comes from data is escaped. An unfinished run shows what there is. */
export function renderReport(runs: readonly ReportedRun[]): string {
  const prepared = runs.map((run): Prepared => {
    const facts = collectFacts(run.events);
    return { run, facts, table: makeResultTable(facts) };
  });
  const [only] = prepared;
  const single = prepared.length === 1 && only !== undefined;
  const title = single ? only.run.name : `${prepared.length} runs compared`;
  const body = single
    ? html`<h1>${title}</h1><p class="lead">${writeHeadline(only.facts, only.table)}</p>${runSections(only, "r0")}`
    : html`<h1>${title}</h1>${comparison(prepared)}${prepared.map((p, i) => html`<h2>${p.run.name}</h2><p class="lead">${writeHeadline(p.facts, p.table)}</p>${runSections(p, `r${i}`)}`)}`;
  return `${html`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>${title} – fedtune</title>
<style>${trusted(STYLE)}</style></head>
<body><main>${body}
<footer>Made by fedtune. This page needs no network and runs no script.</footer></main></body>
</html>`.markup}\n`;
}

function runSections({ run, facts, table }: Prepared, id: string): Markup {
  return html`${resultsSection(table)}
${lossSection(id, facts)}
${partitionSection(id, facts, run.categories)}
${bytesSection(id, facts)}
${crossTermSection(id, facts)}
${samplesSection(facts)}
${troubleSection(facts)}
${setupSection(facts, run.config, run.versions ?? facts.started?.versions ?? {})}`;
}

/** One line per run: the global test where there is one, else all clients together. */
function comparison(prepared: readonly Prepared[]): Markup {
  const rowOf = ({ table }: Prepared): ResultTable["rows"][number] | undefined => table?.rows.find((r) => r.kind === "global-test") ?? table?.rows.find((r) => r.kind === "all-clients");
  const best = Math.min(...prepared.map((p) => rowOf(p)?.perplexity.federated ?? Infinity));
  const rows = prepared.map((p) => {
    const row = rowOf(p);
    return html`<tr><th scope="row">${p.run.name}</th><td>${row?.name ?? "–"}</td>${COLUMNS.map((c) => {
      const value = row?.perplexity[c];
      return c === "federated" && value === best ? html`<td class="best"><b>${formatPerplexity(value)}</b></td>` : html`<td>${formatPerplexity(value)}</td>`;
    })}</tr>`;
  });
  return html`<section><div class="scroll"><table><thead><tr><th scope="col">run</th><th scope="col">rows of</th>${COLUMNS.map((c) => html`<th scope="col">${c}</th>`)}</tr></thead><tbody>${rows}</tbody></table></div>
<p class="note">Perplexity; lower is better.</p></section>`;
}
