/** Who holds what, once for each different partition among the runs. */
import type { ReportedRun } from "../reported-run.ts";
import type { FoldedRun } from "./rows.ts";

export interface PartitionFigure {
  /** SHA-256 over tokens, labels and who holds them. */
  readonly dataSha256: string;
  readonly federations: readonly string[];
  readonly seeds: readonly number[];
  /** Rows of each client by split. */
  readonly clients: readonly { readonly name: string; readonly train: number; readonly validation: number; readonly test: number }[];
  /** Rows that belong to no client. */
  readonly globalTest: number;
  /** Rows of each client by category, where they are known. */
  readonly categories: NonNullable<ReportedRun["categories"]> | null;
}

/** One figure for each hash of the data, in order of appearance. */
export function makePartitions(runs: readonly FoldedRun[]): readonly PartitionFigure[] {
  return [...Map.groupBy(runs, ({ run }) => run.plan.resolved.data_sha256)].flatMap(([dataSha256, of]) => {
    const started = of.find(({ facts }) => facts.started !== undefined)?.facts.started;
    if (started === undefined) return [];
    return [{
      dataSha256,
      federations: [...new Set(of.map(({ run }) => run.plan.name))],
      seeds: [...new Set(of.map(({ run }) => run.plan.seed))].sort((a, b) => a - b),
      clients: started.clients,
      globalTest: started.globalTest,
      categories: of.find(({ run }) => run.categories !== undefined)?.run.categories ?? null,
    }];
  });
}
