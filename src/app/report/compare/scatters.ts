/** Validation loss against benchmarks: whether tuning by loss would have chosen the best score. */
import { meanOf, rankCorrelation } from "./statistics.ts";
import type { RankCorrelation } from "./statistics.ts";
import type { ComparedScenario, MeasureTable } from "./tables.ts";
import type { RowName } from "./rows.ts";

export interface ScatterPoint extends RowName {
  readonly scenario: ComparedScenario;
  readonly seed: number;
  readonly run: string;
  /** Validation loss of the kept round in nats per labelled token. */
  readonly loss: number;
  readonly score: number;
}

/** A row under one scenario: what tuning chooses between. */
export interface ScatterChoice extends RowName {
  readonly scenario: ComparedScenario;
  /** Means over the seeds. */
  readonly loss: number;
  readonly score: number;
  readonly seeds: number;
}

/** One benchmark in one federation: losses on other rows are not comparable. */
export interface ScatterFigure {
  readonly federation: string;
  /** Key, title, unit and direction of the benchmark's first figure. */
  readonly measure: string;
  readonly title: string;
  readonly unit: MeasureTable["unit"];
  readonly better: MeasureTable["better"];
  readonly points: readonly ScatterPoint[];
  /** Of loss and score; null with fewer than three points and where all are equal. */
  readonly correlation: RankCorrelation | null;
  /** What tuning by loss chooses, and what has the best score; the first of equals. */
  readonly lowestLoss: ScatterChoice;
  readonly bestScore: ScatterChoice;
}

/** A figure for each benchmark and federation with trained adapters of which both are known. The base, which nobody tunes, is left out. */
export function makeScatters(tables: readonly MeasureTable[]): readonly ScatterFigure[] {
  const losses = tables.find(({ kind }) => kind === "loss");
  if (losses === undefined) return [];
  return tables.filter(({ kind, headline }) => kind === "benchmark" && headline).flatMap((table) => {
    const points = table.rows.flatMap((row) => pointsOf(row, losses));
    return [...Map.groupBy(points, ({ federation }) => federation)].flatMap(([federation, of]): ScatterFigure[] => {
      const choices = choicesOf(of);
      const [first] = choices;
      if (first === undefined) return [];
      const lowestLoss = choices.reduce((best, choice) => (choice.loss < best.loss ? choice : best), first);
      const bestScore = choices.reduce((best, choice) => ((table.better === "higher" ? choice.score > best.score : choice.score < best.score) ? choice : best), first);
      return [{ federation, measure: table.key, title: table.title, unit: table.unit, better: table.better, points: of, correlation: rankCorrelation(of.map(({ loss, score }) => [loss, score])) ?? null, lowestLoss, bestScore }];
    });
  });
}

function choicesOf(points: readonly ScatterPoint[]): readonly ScatterChoice[] {
  const choices = Map.groupBy(points, ({ method, settings, scenario }) => JSON.stringify([method, settings, scenario]));
  return [...choices.values()].flatMap((of) => {
    const [first] = of;
    if (first === undefined) return [];
    const { federation, method, settings, scenario } = first;
    return [{ federation, method, settings, scenario, loss: meanOf(of.map(({ loss }) => loss)), score: meanOf(of.map(({ score }) => score)), seeds: of.length }];
  });
}

function pointsOf({ cells, best: _best, ...name }: MeasureTable["rows"][number], losses: MeasureTable): readonly ScatterPoint[] {
  const own = losses.rows.find((row) => row.federation === name.federation && row.method === name.method && JSON.stringify(row.settings) === JSON.stringify(name.settings));
  return (["local", "global", "federated"] as const).flatMap((scenario) =>
    (cells[scenario]?.values ?? []).flatMap(({ seed, run, value: score }): ScatterPoint[] => {
      const loss = own?.cells[scenario]?.values.find((v) => v.seed === seed && v.run === run)?.value;
      return loss === undefined ? [] : [{ ...name, scenario, seed, run, loss, score }];
    }),
  );
}
