/** Validation loss of the federation over its rounds: a line for each row, with a thin one for each of its seeds. */
import { validationPoints } from "../validation.ts";
import type { Point } from "../validation.ts";
import { holderOf, seedsOf } from "./rows.ts";
import type { Row, RowName } from "./rows.ts";
import { meanOf } from "./statistics.ts";

export interface CurveLine extends RowName {
  /** `[round, nats per labelled token over all clients' validation rows]` of each seed. */
  readonly seeds: readonly { readonly seed: number; readonly run: string; readonly points: readonly Point[] }[];
  /** Mean over the seeds, at the rounds that all of them have. */
  readonly mean: readonly Point[];
}

/** The lines of one federation. */
export interface CurveFigure {
  readonly federation: string;
  readonly lines: readonly CurveLine[];
}

/** One figure for each federation that has lines. */
export function makeCurves(rows: readonly Row[]): readonly CurveFigure[] {
  const lines = rows.flatMap((row): CurveLine[] => {
    const seeds = seedsOf(row).flatMap((seed) => {
      const holder = holderOf(row, "federated", seed);
      const points = holder === undefined ? [] : validationPoints(holder.facts.evaluations, "federated");
      return holder === undefined || points.length === 0 ? [] : [{ seed, run: holder.run.name, points }];
    });
    return seeds.length === 0 ? [] : [{ ...row.name, seeds, mean: meanLine(seeds.map(({ points }) => points)) }];
  });
  return [...Map.groupBy(lines, ({ federation }) => federation)].map(([federation, of]) => ({ federation, lines: of }));
}

function meanLine(seeds: readonly (readonly Point[])[]): readonly Point[] {
  const rounds = Map.groupBy(seeds.flat(), ([round]) => round);
  return [...rounds].filter(([, points]) => points.length === seeds.length).map(([round, points]): Point => [round, meanOf(points.map(([, loss]) => loss))]).sort(([a], [b]) => a - b);
}
