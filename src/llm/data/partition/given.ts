/** Partitions that the data itself gives: by a field's value, by file, or by its own client field. */
import { basename, extname } from "node:path";
import { FedtuneError } from "../../../core/base/errors.ts";
import type { RawDataset, RawRecord } from "../records.ts";
import type { PartitionSettings } from "../settings.ts";
import { groupByField, groupRows, readName, requireField, UNTOLD, type Assignment, type ClientRows } from "./assignment.ts";

type FieldPartition = Extract<PartitionSettings, { method: "field" }>;

/** The client that stands for none. */
const NOBODY = "-1";

/** Orders groups by size, the largest first; equal ones keep the order of their names. */
function bySize(groups: readonly ClientRows[]): readonly ClientRows[] {
  return groups.toSorted((a, b) => b.rows.length - a.rows.length);
}

/**
 * Values that are frequent enough to make clients, and those that are not; rows whose value a rule could not tell are among the
 * latter. Throws FedtuneError "data" for an unknown field, or where no value has enough rows.
 */
export function chooseValues(source: Pick<RawDataset, "records" | "derived">, settings: FieldPartition, field: string): { readonly groups: readonly ClientRows[] } & Required<Pick<Assignment, "unused" | "leftOut">> & Pick<Assignment, "leastExamples"> {
  const all = groupByField(source, field, "partition.field");
  const least = settings.min_examples ?? source.derived?.find(({ name }) => name === field)?.minExamples ?? 1;
  const isKept = ({ name, rows }: ClientRows): boolean => name !== UNTOLD && rows.length >= least;
  const groups = all.filter(isKept);
  if (groups.length === 0) {
    const most = all.reduce((largest, { name, rows }) => Math.max(largest, name === UNTOLD ? 0 : rows.length), 0);
    throw new FedtuneError("data", { where: "partition.min_examples", expected: `at most ${most}, the rows of the most frequent value of \`${field}\``, got: String(least), remedy: "Lower it" });
  }
  const rest = bySize(all.filter((group) => !isKept(group)));
  return { groups, ...(least > 1 && { leastExamples: least }), leftOut: rest.map(({ name, rows }) => ({ name, rows: rows.length })), unused: rest.flatMap((group) => group.rows).sort((a, b) => a - b) };
}

/** One client per value of a field, or several values each where fewer clients are asked for. Throws as chooseValues, and for more clients than values. */
export function assignByField(source: Pick<RawDataset, "records" | "derived">, settings: FieldPartition, field: string): Assignment {
  const { groups, ...rest } = chooseValues(source, settings, field);
  return { clients: mergeGroups(groups, settings.clients ?? groups.length, field), globalTest: [], ...rest };
}

/** The most frequent values make the clients; the others join them in turn. */
function mergeGroups(groups: readonly ClientRows[], clients: number, field: string): readonly ClientRows[] {
  if (clients === groups.length) return groups;
  if (clients > groups.length) throw new FedtuneError("data", { where: "partition.clients", expected: `at most ${groups.length}, as many as \`${field}\` has values with enough rows`, got: String(clients), remedy: "Ask for fewer clients" });
  const ranked = bySize(groups);
  return Array.from({ length: clients }, (_, c) => {
    const own = ranked.filter((_group, i) => i % clients === c);
    return { name: own.map((group) => group.name).join("+"), rows: own.flatMap((group) => group.rows).sort((a, b) => a - b) };
  });
}

/** One client per file, named by its stem, or by its whole path where two stems are the same. */
export function assignByFile(records: readonly RawRecord[]): Assignment {
  const files = [...new Set(records.map((record) => record.origin.file))];
  const stem = (file: string): string => basename(file, extname(file));
  const unique = new Set(files.map(stem)).size === files.length;
  return { clients: groupRows(records, (record) => (unique ? stem(record.origin.file) : record.origin.file)), globalTest: [], unused: [] };
}

/** The clients that rows name themselves; rows with no client, or client -1, are the global test. */
export function assignOwn(records: readonly RawRecord[], field: string): Assignment {
  requireField(records, field, "data.client_field");
  const groups = groupRows(records, (record) => readName(record, field) ?? NOBODY);
  const globalTest = groups.find((group) => group.name === NOBODY)?.rows ?? [];
  const clients = groups.filter((group) => group.name !== NOBODY);
  if (clients.length === 0) throw new FedtuneError("data", { where: "data.client_field", expected: `rows with a client in \`${field}\``, got: "only rows without one" });
  return { clients, globalTest, unused: [] };
}
