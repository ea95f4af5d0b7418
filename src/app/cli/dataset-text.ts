/** What is known of a data set, as lines for people. */
import type { DatasetDescription, RowsSeen } from "../../index.ts";
import { formatBytes, formatCount } from "../report/index.ts";
import type { Colors } from "./context.ts";
import { printable, wrap } from "./text-layout.ts";

const LABEL_WIDTH = 15;
const MOST_TEXT = 240;
const MOST_CATEGORIES = 16;

/** A label and its text, wrapped beside it. */
function entry(label: string, value: string, width: number): readonly string[] {
  return wrap(value, Math.max(20, width - LABEL_WIDTH)).map((line, i) => `${(i === 0 ? label : "").padEnd(LABEL_WIDTH)}${line}`);
}

function describeFile({ here, at, rows, sizeBytes, sha256, checksum }: DatasetDescription["parts"][number]["files"][number]): string {
  const facts = [rows === undefined ? [] : `${formatCount(rows)} rows`, sizeBytes === undefined ? [] : formatBytes(sizeBytes), sha256 === undefined ? checksum : `${checksum} SHA-256 ${sha256.slice(0, 16)}…`, here ?? (at === undefined ? "not to be fetched" : `to be fetched: ${at}`)].flat();
  return facts.join(", ");
}

function describeRows({ rows, kind, problem, columns, fields, categories, first }: RowsSeen, width: number): readonly string[] {
  const shown = categories.slice(0, MOST_CATEGORIES).map(({ name, rows: n }) => `${printable(name)} ${formatCount(n)}`);
  const more = categories.length > shown.length ? [`and ${categories.length - shown.length} more`] : [];
  const texts = Object.entries(fields).flatMap(([meaning, field]) => {
    const value = first[field];
    return value === undefined || value === null || value === "" || meaning === "missingInput" ? [] : [entry(`  ${meaning}`, cut(typeof value === "string" ? value : JSON.stringify(value)), width)];
  });
  return [
    ...entry("Rows", `${formatCount(rows)}${kind === null ? "" : `, each ${{ instruction: "an instruction with its answer", conversation: "a conversation", text: "plain text" }[kind]}`}; fields ${columns.join(", ")}`, width),
    ...(problem === undefined ? [] : entry("", problem, width)),
    ...(shown.length === 0 ? [] : entry("Categories", [...shown, ...more].join(", "), width)),
    ...(texts.length === 0 ? [] : ["First row", ...texts.flat()]),
  ];
}

function cut(value: string): string {
  const line = printable(value).replace(/\s+/g, " ").trim();
  return line.length > MOST_TEXT ? `${line.slice(0, MOST_TEXT - 1)}…` : line;
}

/** The description as lines of at most `width` columns (paths may be longer). */
export function describeDatasetAsText({ name, dataset, source, parts, seen }: DatasetDescription, { width, colors }: { readonly width: number; readonly colors: Colors }): readonly string[] {
  const lines: string[] = [colors.bold(dataset === undefined ? name : `${name}: ${dataset.title}`), ...entry("Source", source, width)];
  if (dataset !== undefined) {
    const { licence, terms, note, fields, client, split, derive, replace = [], compose = {}, leaveOut } = dataset;
    const mapping = [...Object.entries(fields), ...(client === undefined ? [] : [["client", client]]), ...(split === undefined ? [] : [["split", split]])].map(([meaning, field]) => `${meaning} = ${field}`);
    lines.push(...entry("Licence", licence, width), ...(terms === undefined ? [] : entry("", terms, width)), ...entry("Fields", mapping.join(", "), width));
    if (derive !== undefined) lines.push(...entry("Derived", `${derive.join(", ")} (made by rule)`, width));
    for (const [field, pattern] of Object.entries(compose)) lines.push(...entry("Composed", `${field} from ${pattern}`, width));
    for (const { field, from, to } of replace) lines.push(...entry("Replaced", `in ${field}: \`${from}\` by \`${to}\``, width));
    if (leaveOut !== undefined) lines.push(...entry("Left out", `rows whose ${leaveOut.field} is ${leaveOut.value}: ${leaveOut.reason}`, width));
    if (note !== undefined) lines.push(...entry("Note", note, width));
    for (const part of parts) for (const [i, file] of part.files.entries()) lines.push(...entry(i === 0 ? `  ${part.name}` : "", describeFile(file), width));
  }
  return seen === undefined ? lines : [...lines, ...describeRows(seen, width)];
}
