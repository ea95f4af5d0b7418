/** Everything that a report of several runs shows, as data without functions: what `report.json` holds is what is drawn. */
import type { ReportedRun } from "../reported-run.ts";
import { COLUMNS } from "../result-table.ts";
import { makeClientFigures } from "./clients.ts";
import type { ClientFigure } from "./clients.ts";
import { makeCurves } from "./curves.ts";
import type { CurveFigure } from "./curves.ts";
import { makeEfficiency } from "./efficiency.ts";
import type { EfficiencyRow } from "./efficiency.ts";
import { makePartitions } from "./partitions.ts";
import type { PartitionFigure } from "./partitions.ts";
import { foldRuns, groupRuns, holds } from "./rows.ts";
import type { RowName } from "./rows.ts";
import { makeScatters } from "./scatters.ts";
import type { ScatterFigure } from "./scatters.ts";
import { makeTables, SCENARIO_OF } from "./tables.ts";
import type { ComparedScenario, MeasureTable } from "./tables.ts";

export interface ComparedRun extends RowName {
  /** The folder's name. */
  readonly run: string;
  readonly seed: number;
  readonly scenarios: readonly ComparedScenario[];
  readonly finished: boolean;
  readonly dataSha256: string;
}

export interface Comparison {
  readonly version: 1;
  readonly runs: readonly ComparedRun[];
  readonly tables: readonly MeasureTable[];
  /** What the tables' values over all clients are made of. */
  readonly clients: readonly ClientFigure[];
  readonly curves: readonly CurveFigure[];
  readonly efficiency: readonly EfficiencyRow[];
  readonly scatters: readonly ScatterFigure[];
  readonly partitions: readonly PartitionFigure[];
}

/** Compares runs, one or many. Unfinished ones give what they have. */
export function compareRuns(runs: readonly ReportedRun[]): Comparison {
  const folded = foldRuns(runs);
  const rows = groupRuns(folded);
  const tables = makeTables(rows);
  const compared = rows.flatMap(({ name, runs: members }) =>
    members.map((member): [number, ComparedRun] => [
      folded.indexOf(member),
      { run: member.run.name, ...name, seed: member.run.plan.seed, scenarios: COLUMNS.filter((column) => holds(member, column)).map((column) => SCENARIO_OF[column]), finished: member.facts.finished !== undefined, dataSha256: member.run.plan.resolved.data_sha256 },
    ]),
  );
  return {
    version: 1,
    runs: compared.toSorted(([a], [b]) => a - b).map(([, line]) => line),
    tables,
    clients: makeClientFigures(rows),
    curves: makeCurves(rows),
    efficiency: makeEfficiency(rows),
    scatters: makeScatters(tables),
    partitions: makePartitions(folded),
  };
}
