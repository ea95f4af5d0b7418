/** Partitions that the data itself gives: by a field's value, by file, or by its own client field. */
import { basename, extname } from "node:path";
import { FedtuneError } from "../../../core/base/errors.ts";
import type { RawRecord } from "../records.ts";
import type { PartitionSettings } from "../settings.ts";
import { groupByField, groupRows, readName, requireField, type Assignment } from "./assignment.ts";

/** The client that stands for none. */
const NOBODY = "-1";

/** One client per value of a field. Throws FedtuneError "data" for an unknown field, or where no value has enough rows. */
export function assignByField(records: readonly RawRecord[], settings: Extract<PartitionSettings, { method: "field" }>, field: string): Assignment {
  const groups = groupByField(records, field, "partition.field");
  const least = settings.min_examples ?? 1;
  const clients = groups.filter((group) => group.rows.length >= least);
  if (clients.length === 0) {
    const most = groups.reduce((largest, group) => Math.max(largest, group.rows.length), 0);
    throw new FedtuneError("data", { where: "partition.min_examples", expected: `at most ${most}, the rows of the most frequent value of \`${field}\``, got: String(least) });
  }
  return { clients, globalTest: [], unused: groups.filter((group) => group.rows.length < least).flatMap((group) => group.rows).sort((a, b) => a - b) };
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
