/** What a partition by a field left out, in words. */
import { UNTOLD } from "./assignment.ts";
import type { PartitionManifest } from "./build.ts";

const MOST_NAMED = 20;

/** `Left out for fewer than 100 rows: HTML (87), Ruby (40); and 276 rows whose language no rule can tell`; empty where nothing was left out. */
export function describeLeftOut({ leftOut, leastExamples, partition }: Pick<PartitionManifest, "leftOut" | "leastExamples" | "partition">): string {
  const rare = leftOut.filter(({ name }) => name !== UNTOLD);
  const untold = leftOut.find(({ name }) => name === UNTOLD);
  const named = rare.slice(0, MOST_NAMED).map(({ name, rows }) => `${name} (${rows})`);
  const rest = rare.slice(MOST_NAMED);
  const more = rest.length === 0 ? [] : [`and ${rest.length} more (${rest.reduce((sum, { rows }) => sum + rows, 0)})`];
  const field = "field" in partition ? partition.field : "field";
  const parts = [
    ...(rare.length === 0 ? [] : [`${leastExamples === null ? "" : `for fewer than ${leastExamples} rows: `}${[...named, ...more].join(", ")}`]),
    ...(untold === undefined ? [] : [`${untold.rows} ${untold.rows === 1 ? "row" : "rows"} whose ${field} no rule can tell`]),
  ];
  return parts.length === 0 ? "" : `Left out ${parts.join("; and ")}`;
}
