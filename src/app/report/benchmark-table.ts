/** What everything that a run compares can do, as a fold of its benchmarks. Figures only; the terminal, the report and the comparison lay them out. */
import type { Benchmarked, RunFacts } from "./facts.ts";
import { COLUMNS } from "./result-table.ts";
import type { Column } from "./result-table.ts";

type Figure = Benchmarked["figures"][number];

export interface BenchmarkCell {
  readonly value: number;
  /** 95 % interval of the benchmark; absent for a mean over clients. */
  readonly interval?: { readonly low: number; readonly high: number };
  /** For clients alone: how many they are, and the least and the most of them. */
  readonly clients?: { readonly count: number; readonly least: number; readonly most: number };
}

/** One figure of a benchmark, on everything that it was asked. */
export interface BenchmarkRow {
  /** What the benchmark is called in tables, its place in the config, and the figure's name. */
  readonly label: string;
  readonly place: number;
  readonly figure: string;
  /** Whether the figure is the benchmark's first. */
  readonly headline: boolean;
  readonly unit: "share" | "number";
  readonly better: "higher" | "lower";
  /** Questions that the figure rests on. */
  readonly questions: number;
  readonly cells: Readonly<Partial<Record<Column, BenchmarkCell>>>;
  /** The column with the best value; absent with fewer than two. */
  readonly best: Column | undefined;
}

/** The figures on whole benchmarks (those on parts of them are left out), by place and in the benchmark's order. */
export function makeBenchmarkTable(facts: RunFacts): readonly BenchmarkRow[] {
  const places = Map.groupBy(facts.benchmarks, ({ place }) => place);
  return [...places].sort(([a], [b]) => a - b).flatMap(([place, asked]) => {
    const names = [...new Set(asked.flatMap(({ figures }) => wholeFigures(figures).map(({ name }) => name)))];
    return names.flatMap((name, index): BenchmarkRow[] => {
      const of = (scenario: string): Figure | undefined => asked.find((e) => e.scenario === scenario)?.figures.find((f) => f.group === undefined && f.name === name);
      const alone = (facts.started?.clients ?? []).map((_, client) => of(`local/${client}`));
      const shown = { base: cellOf(of("base")), alone: meanOfClients(alone), pooled: cellOf(of("global")), federated: cellOf(of("federated")) };
      const cells = Object.fromEntries(Object.entries(shown).filter(([, cell]) => cell !== undefined)) as BenchmarkRow["cells"];
      const first = asked.flatMap(({ figures }) => figures).find((f) => f.group === undefined && f.name === name);
      if (first === undefined || Object.keys(cells).length === 0) return [];
      const better = first.better ?? "higher";
      return [{ label: asked[0]?.label ?? "", place, figure: name, headline: index === 0, unit: first.unit, better, questions: first.questions, cells, best: bestColumn(cells, better) }];
    });
  });
}

/** The figures on the whole benchmark, without those on parts of it. */
export const wholeFigures = (figures: readonly Figure[]): readonly Figure[] => figures.filter(({ group }) => group === undefined);

function cellOf(figure: Figure | undefined): BenchmarkCell | undefined {
  if (figure === undefined || figure.value === null) return undefined;
  const { value, low, high } = figure;
  return { value, ...(low !== null && high !== null && { interval: { low, high } }) };
}

/** The mean over all clients, each by its own adapter; undefined where one is missing. */
function meanOfClients(figures: readonly (Figure | undefined)[]): BenchmarkCell | undefined {
  const values = figures.flatMap((figure) => (figure === undefined || figure.value === null ? [] : [figure.value]));
  if (values.length === 0 || values.length < figures.length) return undefined;
  return { value: values.reduce((a, b) => a + b, 0) / values.length, clients: { count: values.length, least: Math.min(...values), most: Math.max(...values) } };
}

function bestColumn(cells: BenchmarkRow["cells"], better: BenchmarkRow["better"]): Column | undefined {
  const values = COLUMNS.flatMap((column) => {
    const cell = cells[column];
    return cell === undefined ? [] : [{ column, value: cell.value }];
  });
  if (values.length < 2) return undefined;
  return values.reduce((best, next) => ((better === "higher" ? next.value > best.value : next.value < best.value) ? next : best)).column;
}
