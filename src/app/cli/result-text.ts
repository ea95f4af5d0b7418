/** What a finished run leaves in the terminal: the final table, text before and after, where things are, what to try next. */
import { collectFacts, COLUMNS, describeExamplesSeen, describeSpread, formatMeasure, formatPerplexity, makeBenchmarkTable, makeResultTable, writeHeadline } from "../report/index.ts";
import type { BenchmarkRow, Column, ResultTable } from "../report/index.ts";
import type { RunEvent } from "./api.ts";
import type { Colors } from "./context.ts";
import { layoutTable, printable, widthOf, wrap } from "./text-layout.ts";

const HEADINGS = { base: "base", alone: "alone", pooled: "pooled", federated: "federated" } as const satisfies Record<Column, string>;
/** Longest sample shown; the whole text is in the report. */
const SAMPLE_LINES = 6;

export interface ResultTextOptions {
  /** Columns of the terminal; 80 where the output is none. */
  readonly width: number;
  readonly colors: Colors;
}

/** The result of a run as lines: one sentence, the table with the best value of each row marked, the benchmarks, and one text sample. */
export function writeResult(events: Iterable<RunEvent>, options: ResultTextOptions): readonly string[] {
  const facts = collectFacts(events);
  const table = makeResultTable(facts);
  const samples = facts.samples.filter((s) => s.prompt === facts.samples[0]?.prompt && (s.scenario === "base" || s.scenario === "federated"));
  const lines = wrap(printable(writeHeadline(facts, table)), options.width).map(options.colors.bold);
  if (table !== undefined) lines.push("", ...writeTable(table, options));
  lines.push(...writeBenchmarks(makeBenchmarkTable(facts), options));
  if (facts.failures.length + facts.skipped.length > 0) {
    lines.push("", ...wrap(`${facts.failures.length} failed client rounds and ${facts.skipped.length} client rounds with skipped steps; the report lists them.`, options.width).map(options.colors.yellow));
  }
  for (const [i, sample] of samples.entries()) {
    if (i === 0) lines.push("", ...wrap(`Prompt: ${printable(sample.prompt)}`, options.width).map(options.colors.dim));
    const label = sample.scenario === "base" ? "before" : "after ";
    const text = wrap(printable(sample.text.trim()).replace(/\n+/g, "\n"), options.width - 8);
    const shown = text.length > SAMPLE_LINES ? [...text.slice(0, SAMPLE_LINES - 1), `${text[SAMPLE_LINES - 1] ?? ""} …`] : text;
    lines.push(...shown.map((line, n) => `${n === 0 ? options.colors.bold(label) : "      "}  ${line}`));
  }
  return lines;
}

/** The table as lines; the best of each row carries an asterisk, so that it is seen without colours too. */
function writeTable(table: ResultTable, { width, colors }: ResultTextOptions): readonly string[] {
  const columns = [
    { heading: `${table.split} rows of`, align: "left" as const },
    { heading: "rows", align: "right" as const },
    ...table.columns.map((c) => ({ heading: `${HEADINGS[c]} `, align: "right" as const })),
  ];
  const rows = table.rows.map((row) => [
    printable(row.name).replace(/\s+/g, " "),
    String(row.rows),
    ...table.columns.map((c) => {
      const figure = formatPerplexity(row.perplexity[c]);
      return c === row.best ? `${colors.green(figure)}*` : `${figure} `;
    }),
  ]);
  const [heading = "", ...body] = layoutTable(columns, rows, width);
  const firstTotal = table.rows.findIndex((row) => row.kind !== "client");
  const rule = colors.dim("─".repeat(Math.min(width, Math.max(...[heading, ...body].map(widthOf)))));
  const lines = [`Perplexity (lower is better, * best of its row)`, "", colors.dim(heading), ...body];
  if (firstTotal > 0) lines.splice(3 + firstTotal, 0, rule);
  return [...lines, ...wrap(`Examples seen: ${describeExamplesSeen(table.seen)}`, width).map(colors.dim)];
}

/** Each figure with its 95 % interval, a line for each column; the best carries an asterisk. */
function writeBenchmarks(rows: readonly BenchmarkRow[], { width, colors }: ResultTextOptions): readonly string[] {
  if (rows.length === 0) return [];
  const columns = [{ heading: "", align: "left" }, { heading: "figure ", align: "right" }, { heading: "95 % interval, clients alone: their range", align: "left" }] as const;
  const lines = rows.flatMap((row) => [
    [`${row.label}: ${row.figure}${row.better === "lower" ? ", lower is better" : ""}`, "", ""],
    ...COLUMNS.flatMap((column) => {
      const cell = row.cells[column];
      if (cell === undefined) return [];
      const figure = formatMeasure(cell.value, row.unit);
      return [[`  ${HEADINGS[column]}`, column === row.best ? `${colors.green(figure)}*` : `${figure} `, describeSpread(cell, row.unit)]];
    }),
  ]);
  const [heading = "", ...body] = layoutTable(columns, lines, width);
  return ["", "Benchmarks (* best of its block)", "", colors.dim(heading), ...body];
}
