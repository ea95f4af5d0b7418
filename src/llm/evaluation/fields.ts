/** Fields of a benchmark's rows: checked, and named with file and line where they do not fit. */
import type { z } from "zod";
import { didYouMean, FedtuneError } from "../../core/base/errors.ts";
import { describeValue, formatOrigin, type RawRecord } from "../data/records.ts";

/** A row's fields by a schema. Throws FedtuneError("data") naming file, line and field. */
export function parseRow<Row>(record: RawRecord, schema: z.ZodType<Row>): Row {
  const parsed = schema.safeParse(record.fields);
  if (parsed.success) return parsed.data;
  const path = parsed.error.issues[0]?.path ?? [];
  const [field = ""] = path.map(String);
  const names = Object.keys(record.fields);
  const missing = !Object.hasOwn(record.fields, field);
  throw new FedtuneError("data", {
    where: formatOrigin(record.origin),
    expected: `a field \`${path.map(String).join(".")}\`: ${parsed.error.issues[0]?.message ?? "another value"}`,
    got: missing ? `fields ${names.join(", ") || "(none)"}` : describeValue(record.fields[field]),
    remedy: (missing ? didYouMean(field, names) : "") || "Mend or remove the row",
    details: { file: record.origin.file, at: record.origin.at },
  });
}

/**
 * Checks that some row has a column.
 * @throws FedtuneError("data") naming the column, those there are and the nearest
 */
export function requireColumn(records: readonly RawRecord[], column: string, { setting, file }: { readonly setting: string; readonly file: string }): void {
  if (records.some(({ fields }) => fields[column] !== undefined)) return;
  const names = [...new Set(records.flatMap(({ fields }) => Object.keys(fields)))];
  throw new FedtuneError("data", { where: file, expected: `a column \`${column}\` (${setting})`, got: `columns ${names.join(", ")}`, remedy: didYouMean(column, names) || `Set ${setting} to one of them` });
}

/** A column's value as a name: texts, numbers and truth values as they are written; null where there is none. */
export function nameIn({ fields }: RawRecord, column: string): string | null {
  const value = fields[column];
  return typeof value === "string" ? value : typeof value === "number" || typeof value === "boolean" ? String(value) : null;
}
