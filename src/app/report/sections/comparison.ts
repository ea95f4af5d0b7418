/** The sections of a report of several runs: tables over seeds, curves, efficiency, loss against score, partitions, the runs themselves. */
import { barChart } from "../charts/bars.ts";
import { curveChart, curveLooks } from "../charts/curves.ts";
import { drawMultiples } from "../charts/draw.ts";
import { scatterChart } from "../charts/scatter.ts";
import type { Comparison } from "../compare/comparison.ts";
import type { EfficiencyRow } from "../compare/efficiency.ts";
import type { PartitionFigure } from "../compare/partitions.ts";
import { labelOf } from "../compare/rows.ts";
import type { RowName } from "../compare/rows.ts";
import type { ScatterChoice, ScatterFigure } from "../compare/scatters.ts";
import { COMPARED } from "../compare/tables.ts";
import type { Cell, ComparedScenario, MeasureRow, MeasureTable } from "../compare/tables.ts";
import { formatBytes, formatCount, formatLoss, formatMean, formatSeconds, formatThings } from "../format.ts";
import { html } from "../html.ts";
import type { HtmlValue, Markup } from "../html.ts";
import { categoryParts, splitParts } from "./charts.ts";

/** What was compared, in one sentence. */
export function writeScope({ runs, tables }: Comparison): string {
  const count = (of: (run: Comparison["runs"][number]) => string): number => new Set(runs.map(of)).size;
  const unfinished = runs.filter(({ finished }) => !finished).length;
  const parts = [
    formatThings(count(({ federation }) => federation), "federation"),
    formatThings(count(({ method }) => method), "method"),
    formatThings(count(({ seed }) => String(seed)), "seed"),
    formatThings(tables.filter(({ kind, headline }) => kind === "benchmark" && headline).length, "benchmark"),
  ];
  return `${formatThings(runs.length, "run")}: ${parts.join(", ")}.${unfinished === 0 ? "" : ` ${formatThings(unfinished, "run")} not finished; what ${unfinished === 1 ? "it has" : "they have"} is shown.`}`;
}

/** The tables of all measures that are shown: the validation loss only where there is no perplexity on rows held out. */
export function tablesSection({ tables }: Comparison): Markup {
  const shown = tables.filter(({ kind, headline }) => headline && (kind !== "loss" || tables.every((t) => t.kind !== "perplexity")));
  if (shown.length === 0) return html`<section><h3>Result</h3><p class="muted">Nothing has been evaluated yet.</p></section>`;
  return html`${shown.map(measureSection)}
<p class="note"><b>base</b>: the model as it came. <b>local</b>: each client trained on its own rows only; perplexity over the rows of all clients together, on the global test and in benchmarks the mean over clients. <b>global</b>: trained on everybody’s rows at one place. <b>federated</b>: trained together, no row left its client.</p>`;
}

function measureSection(table: MeasureTable): Markup {
  const columns = COMPARED.filter((scenario) => table.rows.some(({ cells }) => cells[scenario] !== undefined));
  const seeds = [...new Set(table.rows.flatMap(({ cells }) => Object.values(cells).map((cell) => cell.seeds)))].sort((a, b) => a - b);
  const same = seeds.length === 1;
  const cell = (row: MeasureRow, scenario: ComparedScenario): Markup => {
    const of = row.cells[scenario];
    if (of === undefined) return html`<td>–</td>`;
    const content = writeCell(of, table.unit, same);
    return scenario === row.best ? html`<td class="best"><b>${content}</b></td>` : html`<td>${content}</td>`;
  };
  const over = same ? (seeds[0] === 1 ? "One seed." : `Mean ± sample standard deviation over ${seeds[0]} seeds.`) : "Mean ± sample standard deviation over n seeds.";
  return html`<section><h3>${table.title}${table.unit === "share" ? ", %" : table.unit === "nats" ? ", nats per token" : ""}</h3>
<div class="scroll"><table class="compare"><thead><tr><th scope="col">method</th>${columns.map((c) => html`<th scope="col">${c}</th>`)}</tr></thead>
<tbody>${byFederation(table.rows, columns.length, (row) => html`<tr>${rowHeading(row)}${columns.map((c) => cell(row, c))}</tr>`)}</tbody></table></div>
<p class="note">${over} ${table.better === "lower" ? "Lower" : "Higher"} is better; the best of each row is bold.${writeWins(table)}</p></section>`;
}

function writeCell({ mean, deviation, seeds }: Cell, unit: MeasureTable["unit"], sameSeeds: boolean): HtmlValue {
  const text = formatMean(mean, deviation, unit);
  const aside = [...(text.deviation === undefined ? [] : [`± ${text.deviation}`]), ...(sameSeeds ? [] : [`n = ${seeds}`])];
  return [text.mean, ...aside.map((part) => html` <small>${part}</small>`)];
}

/** Rows under a line with the name of their federation. */
function byFederation<Named extends RowName>(rows: readonly Named[], columns: number, write: (row: Named) => Markup): Markup[] {
  return [...Map.groupBy(rows, ({ federation }) => federation)].map(([federation, of]) => html`<tr class="federation"><th scope="colgroup" colspan="${columns + 1}">${federation}</th></tr>${of.map(write)}`);
}

function rowHeading({ method, settings }: RowName): Markup {
  return html`<th scope="row">${method}${Object.entries(settings).map(([field, value]) => html`<small>${breakable(field)} ${value}</small>`)}</th>`;
}

/** A field's path that a narrow column may break after its dots and underscores. */
function breakable(field: string): Markup {
  return html`${field.split(/(?<=[._])/).map((part) => html`${part}<wbr>`)}`;
}

/** " Federated is better than local in 5 of 6 rows, than global in 1 of 6." */
function writeWins({ rows, better }: MeasureTable): string {
  const against = (["local", "global"] as const).flatMap((other) => {
    const pairs = rows.flatMap(({ cells: { federated, [other]: rival } }) => (federated === undefined || rival === undefined ? [] : [[federated.mean, rival.mean] as const]));
    const wins = pairs.filter(([federated, rival]) => (better === "higher" ? federated > rival : federated < rival)).length;
    return pairs.length === 0 ? [] : [`than ${other} in ${wins} of ${formatThings(pairs.length, "row")}`];
  });
  return against.length === 0 ? "" : ` Federated is better ${against.join(", ")}.`;
}

/** Validation loss per round, a figure for each federation. */
export function curvesSection({ curves }: Comparison): Markup | undefined {
  if (curves.length === 0) return undefined;
  const looks = curveLooks(curves);
  const several = curves.some(({ lines }) => lines.some(({ seeds }) => seeds.length > 1));
  return html`<section><h3>Validation loss per round, federated</h3>${drawMultiples(curves.map((figure, i) => ({ title: figure.federation, chart: curveChart(`curve${i}`, figure, looks(figure)) })))}
<p class="note">Over the validation rows of all clients together.${several ? " Thick: mean over seeds; thin: each seed." : ""}</p></section>`;
}

/** What a round takes. */
export function efficiencySection({ efficiency }: Comparison): Markup | undefined {
  if (efficiency.length === 0) return undefined;
  const columns = ["trained", "down", "up", "time", "memory"];
  const line = (row: EfficiencyRow): Markup => html`<tr>${rowHeading(row)}<td>${formatCount(row.trainableParameters)}<small> ${formatShare(row.trainableParameters / row.allParameters)}</small></td><td>${row.bytesDown === null ? "–" : formatBytes(row.bytesDown)}</td><td>${row.bytesUp === null ? "–" : formatBytes(row.bytesUp)}</td><td>${row.secondsPerRound === null ? "–" : formatSeconds(row.secondsPerRound)}</td><td>${row.peakBytes === null ? "–" : formatBytes(row.peakBytes)}</td></tr>`;
  return html`<section><h3>What a round of the federation takes</h3>
<div class="scroll"><table class="compare"><thead><tr><th scope="col">method</th>${columns.map((c) => html`<th scope="col">${c}</th>`)}</tr></thead><tbody>${byFederation(efficiency, columns.length, line)}</tbody></table></div>
<p class="note"><b>trained</b>: parameters, and their share of all. <b>down</b>, <b>up</b>: bytes of one message to and from a client as sent, mean over clients and rounds. <b>time</b>: of a round, median; its clients share one machine. <b>memory</b>: most resident memory of the process in any round.</p></section>`;
}

function formatShare(share: number): string {
  return `${(100 * share).toPrecision(2)} %`;
}

/** Validation loss against each benchmark's score. */
export function scattersSection({ scatters }: Comparison): Markup | undefined {
  if (scatters.length === 0) return undefined;
  return html`<section><h3>Does the validation loss tell which adapter is best?</h3>
${drawMultiples(scatters.map((figure, i) => ({ title: `${figure.federation}, ${figure.title}`, chart: scatterChart(`scatter${i}`, figure), note: html`<p class="note">${writeCorrelation(figure)} ${writeVerdict(figure)}</p>` })))}
<p class="note">One point for each run and scenario: the validation loss of the kept round against the benchmark. ρ is Spearman’s rank correlation with its 95 % interval (Fisher’s, with Bonett and Wright’s standard error); points of one row or seed are not independent, so that the interval is too narrow rather than too wide, and seeds that share rows out anew are judged on other rows.</p></section>`;
}

function writeCorrelation({ correlation, points, better }: ScatterFigure): string {
  if (correlation === null) return `${formatThings(points.length, "point")}: too few, or all alike, for a rank correlation.`;
  const { coefficient, pairs, interval } = correlation;
  const range = interval === undefined ? "" : ` (${formatSigned(interval.low)} to ${formatSigned(interval.high)})`;
  return `ρ = ${formatSigned(coefficient)}${range}, n = ${pairs}; ${better === "higher" ? "−1" : "1"} would mean that a lower loss is always a better score.`;
}

/** Whether tuning by loss would have chosen the best score. */
function writeVerdict({ lowestLoss, bestScore, unit }: ScatterFigure): string {
  const score = (value: number): string => `${formatMean(value, null, unit).mean}${unit === "share" ? " %" : ""}`;
  const name = (choice: ScatterChoice): string => `${labelOf(choice)}, ${choice.scenario}${choice.seeds === 1 ? "" : `, mean of ${choice.seeds} seeds`}`;
  if (lowestLoss.score === bestScore.score) return `Tuning by loss would have chosen the best score, ${score(bestScore.score)} (${name(lowestLoss)}).`;
  return `Tuning by loss would not have chosen the best score: the lowest loss, ${formatLoss(lowestLoss.loss)} (${name(lowestLoss)}), scores ${score(lowestLoss.score)}, the best is ${score(bestScore.score)} at ${formatLoss(bestScore.loss)} (${name(bestScore)}).`;
}

function formatSigned(value: number): string {
  return value.toFixed(2).replace("-", "−");
}

/** Partitions drawn in full; of more the rest are named. */
const MOST_PARTITIONS = 12;

/** Who holds what, once for each different partition. */
export function partitionsSection({ partitions }: Comparison): Markup | undefined {
  if (partitions.length === 0) return undefined;
  const rest = partitions.length - MOST_PARTITIONS;
  return html`<section><h3>Who holds what</h3>
${drawMultiples(partitions.slice(0, MOST_PARTITIONS).map(drawPartition))}
${rest > 0 ? html`<p class="note">${formatThings(rest, "other partition")} are in the JSON file.</p>` : undefined}</section>`;
}

function drawPartition(figure: PartitionFigure, i: number): Parameters<typeof drawMultiples>[0][number] {
  const { federations, seeds, clients, globalTest, categories } = figure;
  const by = categories?.field ?? undefined;
  const names = clients.map(({ name }) => name);
  const parts = categories === null || by === undefined ? splitParts(clients) : categoryParts(categories);
  const title = `${federations.join(", ")}, ${seeds.length === 1 ? "seed" : "seeds"} ${seeds.join(", ")}${by === undefined ? ", by split" : `, by ${by}`}`;
  const chart = barChart({ id: `partition${i}`, description: `Rows of each of ${names.length} clients: ${title}`, names, parts, unit: "rows" });
  return { title, chart, ...(globalTest > 0 && { note: html`<p class="note">${formatThings(globalTest, "row")} more belong to no client: the global test.</p>` }) };
}

/** Every run on one line under the row that it belongs to, with a link to its folder or report where the page knows it. */
export function runsSection({ runs }: Comparison, links: readonly (string | undefined)[]): Markup {
  const name = (run: Comparison["runs"][number]): string => `${run.federation}, ${labelOf(run)}`;
  const line = (run: Comparison["runs"][number]): Markup => {
    const link = links[runs.indexOf(run)];
    return html`<tr><th scope="row">${link === undefined ? run.run : html`<a href="${link}">${run.run}</a>`}</th><td>${run.seed}</td><td>${run.scenarios.join(", ")}${run.finished ? undefined : "; not finished"}</td></tr>`;
  };
  const groups = [...Map.groupBy(runs, name)].map(([title, of]) => html`<tr class="federation"><th scope="colgroup" colspan="3">${title}</th></tr>${of.map(line)}`);
  return html`<section><h3>Runs</h3><div class="scroll"><table class="compare runs"><thead><tr><th scope="col">run</th><th scope="col">seed</th><th scope="col">holds</th></tr></thead><tbody>${groups}</tbody></table></div></section>`;
}
