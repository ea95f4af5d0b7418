/**
 * The report of one run or of several side by side: one HTML file that holds everything, opens without a network and runs
 * no script; and its figures as CSV and JSON. Reads nothing and writes nothing; the figures come from `facts.ts`, `result-table.ts` and `compare/`.
 */
import { makeBenchmarkTable } from "./benchmark-table.ts";
import { compareRuns } from "./compare/comparison.ts";
import type { Comparison } from "./compare/comparison.ts";
import { writeCsv } from "./compare/csv.ts";
import { collectFacts } from "./facts.ts";
import type { RunFacts } from "./facts.ts";
import { formatThings } from "./format.ts";
import { writeHeadline } from "./headline.ts";
import { html, trusted } from "./html.ts";
import type { Markup } from "./html.ts";
import type { ReportedRun } from "./reported-run.ts";
import { makeResultTable } from "./result-table.ts";
import type { ResultTable } from "./result-table.ts";
import { benchmarksSection } from "./sections/benchmarks.ts";
import { bytesSection, crossTermSection, lossSection, partitionSection } from "./sections/charts.ts";
import { curvesSection, efficiencySection, partitionsSection, runsSection, scattersSection, tablesSection, writeScope } from "./sections/comparison.ts";
import { resultsSection } from "./sections/results.ts";
import { samplesSection, setupSection, troubleSection } from "./sections/texts.ts";
import { STYLE } from "./style.ts";

interface Prepared {
  readonly run: ReportedRun;
  readonly facts: RunFacts;
  readonly table: ResultTable | undefined;
}

export type { ReportedRun } from "./reported-run.ts";

/** Up to so many runs compared have their own charts below. */
const MOST_IN_FULL = 6;

/** What `fedtune report` writes, as texts. */
export interface ReportFiles {
  readonly html: string;
  /** Every value on a line of its own. */
  readonly csv: string;
  /** What the tables and figures of a comparison are made of. */
  readonly json: string;
}

/** The report in all its forms. */
export function makeReport(runs: readonly ReportedRun[]): ReportFiles {
  const comparison = compareRuns(runs);
  return { html: renderPage(runs, comparison), csv: writeCsv(comparison), json: `${JSON.stringify(comparison, null, 1)}\n` };
}

/** The report as the text of one HTML file. All text that comes from data is escaped. An unfinished run shows what there is. */
export function renderReport(runs: readonly ReportedRun[]): string {
  return renderPage(runs, compareRuns(runs));
}

function renderPage(runs: readonly ReportedRun[], comparison: Comparison): string {
  const [only, ...others] = runs;
  const title = only !== undefined && others.length === 0 ? only.name : `${formatThings(runs.length, "run")} compared`;
  const body = only !== undefined && others.length === 0 ? runPart(only, "r0") : comparisonPart(runs, comparison);
  return `${html`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>${title} – fedtune</title>
<style>${trusted(STYLE)}</style></head>
<body><main><h1>${title}</h1>${body}
<footer>Made by fedtune. This page needs no network and runs no script.</footer></main></body>
</html>`.markup}\n`;
}

function comparisonPart(runs: readonly ReportedRun[], comparison: Comparison): Markup {
  const inFull = runs.length <= MOST_IN_FULL ? runs : [];
  return html`<p class="lead">${writeScope(comparison)}</p>
${tablesSection(comparison)}
${curvesSection(comparison)}
${efficiencySection(comparison)}
${scattersSection(comparison)}
${partitionsSection(comparison)}
${runsSection(comparison, runs.map(({ link }) => link))}
${inFull.map((run, i) => html`<h2>${run.name}</h2>${runPart(run, `r${i}`)}`)}`;
}

/** One run: a sentence, then its sections. `id` is unique on the page. */
function runPart(run: ReportedRun, id: string): Markup {
  const facts = collectFacts(run.events);
  const table = makeResultTable(facts);
  return html`<p class="lead">${writeHeadline(facts, table)}</p>${runSections({ run, facts, table }, id)}`;
}

function runSections({ run, facts, table }: Prepared, id: string): Markup {
  return html`${resultsSection(table)}
${benchmarksSection(makeBenchmarkTable(facts))}
${lossSection(id, facts)}
${partitionSection(id, facts, run.categories)}
${bytesSection(id, facts)}
${crossTermSection(id, facts)}
${samplesSection(facts)}
${troubleSection(facts)}
${setupSection(facts, run.config, run.versions ?? facts.started?.versions ?? {})}`;
}
