/** What the catalog says of a data set: where it comes from, what may be done with it, what its files are and what its fields mean. */
import type { DerivedName } from "../derived/derived.ts";
import type { DataSettings, FieldSettings } from "../settings.ts";

/** A repository that files are fetched from. */
export interface RepositorySource {
  readonly host: "github" | "hub";
  /** `owner/name`. */
  readonly repository: string;
  /** The commit, or a branch where the commit is not known: then the source is not pinned. */
  readonly revision: string;
}

/** Files that were put together from a source, so that no address gives them as they are. */
export interface ComposedSource {
  readonly host: "none";
  /** From what, in words. */
  readonly from: string;
}

export interface DatasetFile {
  /** Relative to FEDTUNE_DATA and to the data set's folder in the cache. */
  readonly path: string;
  /** Path in the source's repository; absent where it cannot be fetched. One that ends in .gz is unpacked. A `*` in its name (Hub only) stands for several files. */
  readonly at?: string;
  /** Of the file as it lies unpacked; absent: not verified until a first download records one. */
  readonly sha256?: string;
  readonly sizeBytes?: number;
  readonly rows?: number;
}

export interface Dataset {
  /** What it holds, in a line. */
  readonly title: string;
  readonly purpose: "training" | "evaluation";
  /** SPDX name, or a sentence. */
  readonly licence: string;
  /** What the licence asks of whoever uses it, where that is not plain. */
  readonly terms?: string;
  readonly source: RepositorySource | ComposedSource;
  readonly parts: Readonly<Record<string, readonly DatasetFile[]>>;
  /** The part that is meant where none is named. */
  readonly part: string;
  readonly format?: Exclude<DataSettings["format"], "auto">;
  readonly fields: FieldSettings;
  /** Fields with the rows' own client and split. */
  readonly client?: string;
  readonly split?: string;
  readonly derive?: readonly DerivedName[];
  /** Fields that are kept; absent: all. */
  readonly keep?: readonly string[];
  /** Fields made of others: `{language} {docstring}`. */
  readonly compose?: Readonly<Record<string, string>>;
  /** Texts of a field put in place of others. */
  readonly replace?: readonly { readonly field: string; readonly from: string; readonly to: string }[];
  /** Rows that are left out, and why. */
  readonly leaveOut?: { readonly field: string; readonly value: string; readonly reason: string };
  /** What else its users should know. */
  readonly note?: string;
}

const COMMIT = /^[0-9a-f]{40}$/;

/** Whether a source always gives the same bytes. */
export function isPinned(source: Dataset["source"]): boolean {
  return source.host !== "none" && COMMIT.test(source.revision);
}

/** A source as people write it: `owner/name@commit`, or what it was put together from. */
export function describeSource(source: Dataset["source"]): string {
  if (source.host === "none") return `put together from ${source.from}; not to be fetched`;
  const where = source.host === "hub" ? "Hugging Face Hub" : "GitHub";
  return `${where}: ${source.repository}@${source.revision}${isPinned(source) ? "" : " (unpinned: a branch, whose content may change)"}`;
}

/** All files of all parts, or of one. */
export function filesOf(dataset: Dataset, part?: string): readonly DatasetFile[] {
  return Object.entries(dataset.parts).flatMap(([name, files]) => (part === undefined || part === name ? files : []));
}
