/** Which client each row is given to, before it is split: what every partition method answers. */
import { didYouMean, FedtuneError } from "../../../core/base/errors.ts";
import { DERIVED_NAMES } from "../derived/derived.ts";
import { describeValue, formatOrigin, type RawDataset, type RawRecord } from "../records.ts";

/** Rows of one client, as indices into the data set, ascending. */
export interface ClientRows {
  readonly name: string;
  readonly rows: readonly number[];
}

/** A value that makes no client, and how many rows have it. */
export interface LeftOut {
  readonly name: string;
  readonly rows: number;
}

/** What stands for the value of a row that a rule could not tell. */
export const UNTOLD = "(not told)";

export interface Assignment {
  readonly clients: readonly ClientRows[];
  /** Rows without a client. */
  readonly globalTest: readonly number[];
  /** Rows that nobody gets. */
  readonly unused: readonly number[];
  /** Values of the field whose rows nobody gets, as they are too rare. */
  readonly leftOut?: readonly LeftOut[];
  /** Rows that a value needed. */
  readonly leastExamples?: number;
}

/** Orders names as people do: whole numbers by value, before all others; others by code point. */
function compareNames(a: string, b: string): number {
  const [x, y] = [/^\d+$/.test(a) ? Number(a) : Infinity, /^\d+$/.test(b) ? Number(b) : Infinity];
  return x !== y ? x - y : a < b ? -1 : a > b ? 1 : 0;
}

/** Throws FedtuneError "data" with the fields there are where no row has `field`. */
export function requireField(records: readonly RawRecord[], field: string, setting: string): void {
  if (records.some((record) => record.fields[field] !== undefined)) return;
  const names = [...new Set(records.slice(0, 100).flatMap((record) => Object.keys(record.fields)))];
  const where = records[0] === undefined ? "data" : records[0].origin.file;
  throw new FedtuneError("data", {
    where,
    expected: `a field \`${field}\` (${setting})`,
    got: `fields ${names.slice(0, 12).join(", ") || "(none)"}`,
    remedy: DERIVED_NAMES.some((name) => name === field) ? `data.derive: [${field}] makes one by rule` : didYouMean(field, names) || `Set ${setting} to a field of the data`,
    details: { field, fields: names },
  });
}

/** A field's value as a name; undefined where the row has none. Throws FedtuneError "data" for a value with parts. */
export function readName(record: RawRecord, field: string): string | undefined {
  const value = record.fields[field];
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return String(value);
  throw new FedtuneError("data", { where: formatOrigin(record.origin), expected: `a text or number in the field \`${field}\``, got: describeValue(value) });
}

/** Row indices by a field's value, in the order of the names. Throws FedtuneError "data" for a row without a value, unless a rule made the field. */
export function groupByField({ records, derived = [] }: Pick<RawDataset, "records" | "derived">, field: string, setting: string): readonly ClientRows[] {
  requireField(records, field, setting);
  const byRule = derived.some(({ name }) => name === field);
  return groupRows(records, (record) => {
    const name = readName(record, field);
    if (name !== undefined) return name;
    if (byRule) return UNTOLD;
    throw new FedtuneError("data", { where: formatOrigin(record.origin), expected: `a value in the field \`${field}\` (${setting})`, got: "none", remedy: "Fill it in or remove the row" });
  });
}

/** Row indices by a name that each row is given, in the order of the names. */
export function groupRows(records: readonly RawRecord[], nameOf: (record: RawRecord) => string): readonly ClientRows[] {
  const groups = new Map<string, number[]>();
  for (const [row, record] of records.entries()) {
    const name = nameOf(record);
    const rows = groups.get(name);
    if (rows === undefined) groups.set(name, [row]);
    else rows.push(row);
  }
  return [...groups].map(([name, rows]) => ({ name, rows })).sort((a, b) => compareNames(a.name, b.name));
}

/** Refuses more clients than there are examples for, `each` at least. */
export function requireEnough(examples: number, clients: number, each = 1): void {
  if (examples >= clients * each) return;
  throw new FedtuneError("data", {
    where: "partition.clients",
    expected: `at most ${Math.floor(examples / each)} clients for ${examples} examples${each === 1 ? "" : ` of which each gets at least ${each}`}`,
    got: String(clients),
    remedy: "Ask for fewer clients or bring more examples",
  });
}
