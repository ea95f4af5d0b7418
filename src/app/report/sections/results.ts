/** The final table as HTML, and under it how many examples each column has seen. */
import { formatCount, formatPerplexity } from "../format.ts";
import { html } from "../html.ts";
import type { Markup } from "../html.ts";
import type { Column, ExamplesSeen, ResultRow, ResultTable } from "../result-table.ts";

const HEADINGS = { base: "base", alone: "alone", pooled: "pooled", federated: "federated" } as const satisfies Record<Column, string>;

/** The table: a row per client, then all clients and the global test; the best of each row in bold. */
export function resultsSection(table: ResultTable | undefined): Markup {
  if (table === undefined) return html`<section><h3>Result</h3><p class="muted">Nothing has been evaluated yet.</p></section>`;
  const hasMean = table.rows.some((r) => r.kind === "global-test" && r.perplexity.alone !== undefined);
  return html`<section><h3>Perplexity on held-out rows</h3>
<div class="scroll"><table class="figures">
<thead><tr><th scope="col">${table.split} rows of</th><th scope="col">rows</th>${table.columns.map((c) => html`<th scope="col">${HEADINGS[c]}</th>`)}</tr></thead>
<tbody>${table.rows.map((row) => resultRow(row, table.columns))}</tbody>
</table></div>
<p class="note">Lower is better; the best of each row is bold. <b>base</b>: the model as it came. <b>alone</b>: each client trained on its own rows only${hasMean ? "; on the global test their average" : ""}. <b>pooled</b>: trained on everybody’s rows at one place. <b>federated</b>: trained together, no row left its client.</p>
<p class="note">Examples seen in training, repetitions counted: ${describeExamplesSeen(table.seen)}.</p></section>`;
}

/** "alone 640 each (6,400 in all), pooled 640, federated 6,400": how much each scenario trained on. */
export function describeExamplesSeen(seen: readonly ExamplesSeen[]): string {
  return seen
    .map(({ column, examples, perClient }) => {
      if (perClient === undefined) return `${column} ${formatCount(examples)}`;
      const [least, most] = perClient;
      const each = least === most ? formatCount(least) : `${formatCount(least)} to ${formatCount(most)}`;
      return `${column} ${each} each (${formatCount(examples)} in all)`;
    })
    .join(", ");
}

function resultRow(row: ResultRow, columns: readonly Column[]): Markup {
  const cells = columns.map((column) => {
    const figure = formatPerplexity(row.perplexity[column]);
    return column === row.best ? html`<td class="best"><b>${figure}</b></td>` : html`<td>${figure}</td>`;
  });
  return html`<tr class="${row.kind}"><th scope="row">${row.name}</th><td class="muted">${formatCount(row.rows)}</td>${cells}</tr>`;
}
