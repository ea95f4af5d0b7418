/** A benchmark's figures as lines of text. */
import type { BenchmarkResult, BenchmarkFigure } from "../../index.ts";
import type { Colors } from "./context.ts";
import { layoutTable, wrap } from "./text-layout.ts";

/** Shares in percent, other figures with three digits after the point. */
function format(figure: BenchmarkFigure, value: number): string {
  return figure.unit === "share" ? `${(100 * value).toFixed(1)} %` : value.toFixed(value >= 100 ? 1 : 3);
}

/** Figures of one kind of group are a table; the headline stands above. */
export function writeBenchmarkResult({ benchmark, figures, asked, questions, skipped, notes }: BenchmarkResult, { width, colors }: { readonly width: number; readonly colors: Colors }): readonly string[] {
  const whole = figures.filter(({ group }) => group === undefined);
  const lines = [`${colors.bold(benchmark)}  ${asked === questions ? `${asked} questions` : `${asked} of ${questions} questions`}`];
  for (const figure of whole) lines.push(`  ${figure.name} ${colors.bold(format(figure, figure.value))}  (95 %: ${format(figure, figure.low)} to ${format(figure, figure.high)}, ${figure.interval})`);
  const kinds = Map.groupBy(figures.filter(({ group }) => group !== undefined), ({ group, name }) => `${group?.kind ?? ""}\0${name}`);
  for (const part of kinds.values()) {
    const [first] = part;
    if (first === undefined) continue;
    const columns = [{ heading: first.group?.kind ?? "", align: "left" }, { heading: first.name, align: "right" }, { heading: "95 %", align: "right" }, { heading: "questions", align: "right" }] as const;
    const rows = part.map((figure) => [figure.group?.name ?? "", format(figure, figure.value), `${format(figure, figure.low)} to ${format(figure, figure.high)}`, String(figure.questions)]);
    lines.push("", ...layoutTable(columns, rows, width - 2).map((line) => `  ${line}`));
  }
  for (const { reason, questions: count } of skipped) lines.push(...wrap(`left out: ${count} (${reason})`, width - 2).map((line) => `  ${line}`));
  for (const note of notes) lines.push(...wrap(`note: ${note}`, width - 2).map((line) => `  ${line}`));
  return lines;
}
