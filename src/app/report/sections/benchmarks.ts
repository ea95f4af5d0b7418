/** What one run's benchmarks gave, with their intervals. */
import type { BenchmarkCell, BenchmarkRow } from "../benchmark-table.ts";
import { formatMeasure, formatRange, formatThings } from "../format.ts";
import { html } from "../html.ts";
import type { Markup } from "../html.ts";
import { COLUMNS } from "../result-table.ts";

/** The table, a row for each figure; nothing where no benchmark was asked. */
export function benchmarksSection(rows: readonly BenchmarkRow[]): Markup | undefined {
  if (rows.length === 0) return undefined;
  const columns = COLUMNS.filter((column) => rows.some(({ cells }) => cells[column] !== undefined));
  const cellOf = (row: BenchmarkRow, column: (typeof COLUMNS)[number]): Markup => {
    const cell = row.cells[column];
    if (cell === undefined) return html`<td>–</td>`;
    const figure = formatMeasure(cell.value, row.unit);
    return html`<td${column === row.best ? html` class="best"` : undefined}>${column === row.best ? html`<b>${figure}</b>` : figure}<small>${describeSpread(cell, row.unit)}</small></td>`;
  };
  return html`<section><h3>Benchmarks</h3>
<div class="scroll"><table class="compare benchmarks"><thead><tr><th scope="col">benchmark</th>${columns.map((c) => html`<th scope="col">${c}</th>`)}</tr></thead>
<tbody>${rows.map((row) => html`<tr><th scope="row">${row.label}<small>${row.figure}, ${formatThings(row.questions, "question")}${row.better === "lower" ? ", lower is better" : ""}</small></th>${columns.map((c) => cellOf(row, c))}</tr>`)}</tbody></table></div>
<p class="note">Below each figure its 95 % confidence interval; for clients alone the mean over clients, with the least and the most of them. The best of each row is bold. Nothing was selected by these.</p></section>`;
}

/** "20.4 to 25.9 %": the interval; "10 clients, 18.0 to 30.5 %" for clients alone; "" where there is neither. */
export function describeSpread({ interval, clients }: BenchmarkCell, unit: "share" | "number"): string {
  if (clients !== undefined) return `${formatThings(clients.count, "client")}, ${formatRange(clients.least, clients.most, unit)}`;
  return interval === undefined ? "" : formatRange(interval.low, interval.high, unit);
}
