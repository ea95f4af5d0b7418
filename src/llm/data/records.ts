/** Rows as they come from a source, each with the place it came from. What their fields mean is left to examples.ts. */

/** Where a row stands. */
export interface Origin {
  /** The file, as shown to people. */
  readonly file: string;
  /** From 1: the line of a text file, or the row of one without lines. */
  readonly at: number;
  readonly unit: "line" | "row";
}

/** One row of a data set. */
export interface RawRecord {
  readonly fields: Readonly<Record<string, unknown>>;
  readonly origin: Origin;
}

/** One file that rows were read from. */
export interface SourceFile {
  /** As shown to people. */
  readonly path: string;
  readonly sha256: string;
  readonly rows: number;
}

/** A field that a rule has made. */
export interface DerivedField {
  readonly name: string;
  /** Rows that a value needs, to be told from a slip of the rule. */
  readonly minExamples: number;
}

/** All rows of a data set, file after file, and the files. */
export interface RawDataset {
  readonly records: readonly RawRecord[];
  readonly files: readonly SourceFile[];
  /** What was done to the rows since they were read, where anything was: rows of equal files and recipes are equal. */
  readonly recipe?: string;
  /** Fields that were made by rule: a row without a value is one that the rule could not tell. */
  readonly derived?: readonly DerivedField[];
}

/** `file:12` for a line, `file, row 12` for a row. */
export function formatOrigin(origin: Origin): string {
  return origin.unit === "line" ? `${origin.file}:${origin.at}` : `${origin.file}, row ${origin.at}`;
}

/** Whether a value is an object with fields, as a row must be. */
export function isRow(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What a value is, in a word or two, for messages. */
export function describeValue(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "string") return `the text ${JSON.stringify(value.slice(0, 40))}`;
  if (typeof value === "number" || typeof value === "boolean") return `the ${typeof value} ${value}`;
  return value === undefined ? "nothing" : typeof value === "object" ? "an object" : `a ${typeof value}`;
}
