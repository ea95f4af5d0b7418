/** How many rows of each category each client holds: the numbers of the partition chart. */
import type { RawDataset } from "../records.ts";
import type { DataSettings } from "../settings.ts";
import { readName } from "./assignment.ts";
import { fieldOf, type PartitionManifest } from "./build.ts";

export interface CategoryCounts {
  /** Field that categories were read from; null where the data has none, and then there is one category `examples`. */
  readonly field: string | null;
  /** The most frequent first; rarer ones beyond the limit are together `other`. */
  readonly categories: readonly string[];
  /** `counts[k]` rows (train, validation and test together) of `categories[k]`. */
  readonly clients: readonly { readonly name: string; readonly counts: readonly number[] }[];
}

const MAX_CATEGORIES = 12;
const OTHER = "other";

/** Counts by the field that the partition goes by, else by `category` where rows have it. */
export function countCategories(source: RawDataset, manifest: PartitionManifest, fields: DataSettings["fields"]): CategoryCounts {
  const { partition } = manifest;
  const wanted = fieldOf("field" in partition ? partition.field : "category", fields);
  const field = source.records.some((record) => record.fields[wanted] !== undefined) ? wanted : null;
  const categoryOf = (row: number): string => {
    const record = source.records[row];
    return field === null || record === undefined ? "examples" : (readName(record, field) ?? OTHER);
  };
  const perClient = manifest.clients.map((client) => {
    const counts = new Map<string, number>();
    for (const rows of [client.train, client.validation, client.test]) for (const row of rows) counts.set(categoryOf(row), (counts.get(categoryOf(row)) ?? 0) + 1);
    return { name: client.name, counts };
  });
  const totals = new Map<string, number>();
  for (const { counts } of perClient) for (const [category, n] of counts) totals.set(category, (totals.get(category) ?? 0) + n);
  const ranked = [...totals].filter(([category]) => category !== OTHER).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([category]) => category);
  const named = ranked.slice(0, MAX_CATEGORIES);
  const folded = ranked.length > named.length || totals.has(OTHER);
  return {
    field,
    categories: folded ? [...named, OTHER] : named,
    clients: perClient.map(({ name, counts }) => {
      const shown = named.map((category) => counts.get(category) ?? 0);
      const all = [...counts.values()].reduce((a, b) => a + b, 0);
      return { name, counts: folded ? [...shown, all - shown.reduce((a, b) => a + b, 0)] : shown };
    }),
  };
}
