/** Data sets for people: which there are, what is known of each, and bringing them to this machine. Reading rows for training is `data.ts`. */
import { statSync } from "node:fs";
import { resolve } from "node:path";
import { FedtuneError } from "../../core/base/errors.ts";
import { hashFile } from "../../core/store/files.ts";
import { fetchHubFiles, HUB_PREFIX, parseHubReference } from "../../core/store/hub-dataset.ts";
import { DATASETS, datasetNamed, partNamed } from "../../llm/data/catalog/all.ts";
import { completeSettings } from "../../llm/data/catalog/complete.ts";
import { describeSource, filesOf, isPinned, type Dataset, type DatasetFile } from "../../llm/data/catalog/dataset.ts";
import { datasetStates, locateDataset, type FileState, type LocateOptions } from "../../llm/data/catalog/locate.ts";
import { resolveFields, toExample, type ResolvedFields } from "../../llm/data/examples.ts";
import type { RawRecord } from "../../llm/data/records.ts";
import { readRecords } from "../../llm/data/sources/read.ts";
import { dataSchema, type DataSettings } from "../../llm/data/settings.ts";

/** One line of the list of data sets. */
export interface DatasetLine {
  readonly name: string;
  readonly title: string;
  readonly purpose: Dataset["purpose"];
  readonly licence: string;
  /** Rows and bytes of the part that is meant where none is named; null where they are not known. */
  readonly rows: number | null;
  readonly sizeBytes: number | null;
  /** Whether that part lies on this machine. */
  readonly here: boolean;
  /** Whether the hashes of all its files are known from the catalog, from a first download, or not. */
  readonly checksum: FileState["checksum"];
  readonly pinned: boolean;
}

/** What the rows of a data set look like. */
export interface RowsSeen {
  readonly rows: number;
  /** Null where it cannot be told which field means what; `problem` says why. */
  readonly kind: "instruction" | "conversation" | "text" | null;
  readonly problem?: string;
  /** Fields of the first row. */
  readonly columns: readonly string[];
  /** Which field means what, as it was resolved. */
  readonly fields: Readonly<Record<string, string>>;
  /** Rows by category, the most frequent first; empty where rows have none. */
  readonly categories: readonly { readonly name: string; readonly rows: number }[];
  readonly first: Readonly<Record<string, unknown>>;
}

/** All that is known of a data set. */
export interface DatasetDescription {
  readonly name: string;
  readonly dataset?: Dataset;
  readonly source: string;
  readonly pinned: boolean;
  readonly parts: readonly { readonly name: string; readonly files: readonly (DatasetFile & Pick<FileState, "checksum"> & { /** Where it lies on this machine. */ readonly here?: string })[] }[];
  /** Absent where the rows are not on this machine, or are too many to be read for this. */
  readonly seen?: RowsSeen;
}

/** A file of a data set that was brought here. */
export interface GottenFile {
  readonly name: string;
  readonly path: string;
  readonly sha256: string;
  readonly from: "FEDTUNE_DATA" | "cache" | "download";
  readonly checksum: FileState["checksum"];
}

/** More than this is not read to be shown. */
const MOST_BYTES = 100e6;

function sumKnown(values: readonly (number | undefined)[]): number | null {
  return values.some((value) => value === undefined) ? null : values.reduce<number>((sum, value) => sum + (value ?? 0), 0);
}

/** All built-in data sets, and which of them are on this machine. Nothing is fetched or read. */
export function listDatasets(options: LocateOptions = {}): readonly DatasetLine[] {
  return Object.entries(DATASETS).map(([name, dataset]) => {
    const states = datasetStates(name, dataset.part, options);
    const { title, purpose, licence } = dataset;
    const checksum = states.every((s) => s.checksum === "verified") ? "verified" : states.every((s) => s.checksum !== "unverified") ? "recorded" : "unverified";
    return { name, title, purpose, licence, rows: sumKnown(states.map((s) => s.file.rows)), sizeBytes: sumKnown(states.map((s) => s.file.sizeBytes)), here: states.every((s) => s.path !== undefined), checksum, pinned: isPinned(dataset.source) };
  });
}

/**
 * Brings a data set to this machine: a built-in one by name, one part of it or all that can be had, or files of the Hub.
 * @throws FedtuneError as `locateDataset` and `fetchHubFiles`
 */
export async function getDataset(name: string, options: LocateOptions & { readonly part?: string } = {}): Promise<readonly GottenFile[]> {
  const { part, ...locate } = options;
  if (name.startsWith(HUB_PREFIX)) {
    const { hubCacheFolder, ...hub } = locate;
    const { files } = await fetchHubFiles(parseHubReference(name), { ...hub, ...(hubCacheFolder === undefined ? {} : { cacheFolder: hubCacheFolder }) });
    return Promise.all(files.map(async (file) => ({ ...file, sha256: await hashFile(file.path), from: "cache" as const, checksum: "verified" as const })));
  }
  const dataset = datasetNamed(name, "data set");
  const parts = part === undefined ? Object.keys(dataset.parts) : [partNamed(name, dataset, part)];
  const gotten: GottenFile[] = [];
  const here = new Set(datasetStates(name, undefined, locate).flatMap((state) => (state.path === undefined ? [] : [state.file])));
  for (const each of parts) {
    // Of several parts, those that no address gives do not stop the others.
    const canBeHad = dataset.source.host !== "none" && filesOf(dataset, each).every((file) => file.at !== undefined || here.has(file));
    if (part === undefined && each !== dataset.part && !canBeHad && !filesOf(dataset, each).every((file) => here.has(file))) continue;
    for (const file of await locateDataset(name, each, locate)) gotten.push({ name: file.shown, path: file.path, sha256: await hashFile(file.path), from: file.from, checksum: file.checksum });
  }
  return gotten;
}

/** Which field means what, or why that cannot be told. */
function tellFields(settings: DataSettings, records: readonly RawRecord[]): { readonly meant?: ResolvedFields; readonly problem?: string } {
  try {
    const meant = resolveFields(settings.fields, records);
    const [first] = records;
    if (first !== undefined) toExample(first, meant);
    return { meant };
  } catch (error) {
    if (error instanceof FedtuneError && error.code === "data") return { problem: error.message };
    throw error;
  }
}

async function seeRows(settings: DataSettings, baseFolder: string, locate: LocateOptions): Promise<RowsSeen> {
  const complete = completeSettings(settings);
  const { records } = await readRecords(settings, baseFolder, { locate });
  const [first] = records;
  const { meant, problem } = tellFields(complete, records);
  const category = complete.fields.category ?? "category";
  const counts = new Map<string, number>();
  for (const { fields } of records) {
    const value = fields[category];
    if (typeof value === "string" || typeof value === "number") counts.set(String(value), (counts.get(String(value)) ?? 0) + 1);
  }
  const { kind, ...fields } = meant ?? { kind: null };
  return {
    rows: records.length,
    kind,
    ...(problem !== undefined && { problem }),
    columns: Object.keys(first?.fields ?? {}),
    fields: { ...fields, ...(counts.size > 0 && { category }) },
    categories: [...counts].map(([name, rows]) => ({ name, rows })).sort((a, b) => b.rows - a.rows),
    first: first?.fields ?? {},
  };
}

/**
 * All that is known of a built-in data set, of files of the Hub (which are fetched), or of a file of one's own. Of a built-in one
 * nothing is fetched: its rows are looked at where they are on this machine.
 * @throws FedtuneError("config") for an unknown name; ("data") for rows that are not what the mapping says
 */
export async function describeDataset(nameOrPath: string, options: LocateOptions = {}): Promise<DatasetDescription> {
  if (!nameOrPath.startsWith(HUB_PREFIX) && !Object.hasOwn(DATASETS, nameOrPath)) {
    if (!/[/\\.*]/.test(nameOrPath)) datasetNamed(nameOrPath, "data set");
    const seen = await seeRows(dataSchema.parse({ path: nameOrPath, format: nameOrPath.endsWith(".txt") ? "text" : "auto" }), process.cwd(), options);
    return { name: nameOrPath, source: resolve(nameOrPath), pinned: false, parts: [], seen };
  }
  if (nameOrPath.startsWith(HUB_PREFIX)) {
    const { name, revision, file } = parseHubReference(nameOrPath);
    const seen = await seeRows(dataSchema.parse({ name: nameOrPath }), process.cwd(), options);
    const source = { host: "hub", repository: name, revision } as const;
    return { name: nameOrPath, source: `${describeSource(source)}, ${file}`, pinned: isPinned(source), parts: [], seen };
  }
  const dataset = datasetNamed(nameOrPath);
  const parts = Object.keys(dataset.parts).map((name) => ({ name, files: datasetStates(nameOrPath, name, options).map(({ file, path, sha256, checksum }) => ({ ...file, ...(sha256 !== undefined && { sha256 }), checksum, ...(path !== undefined && { here: path }) })) }));
  const meant = parts.find(({ name }) => name === dataset.part)?.files ?? [];
  const readable = meant.every(({ here }) => here !== undefined) && meant.reduce((sum, { here }) => sum + (here === undefined ? 0 : statSync(here).size), 0) <= MOST_BYTES;
  const seen = readable ? { seen: await seeRows(dataSchema.parse({ name: nameOrPath }), process.cwd(), options) } : {};
  return { name: nameOrPath, dataset, source: describeSource(dataset.source), pinned: isPinned(dataset.source), parts, ...seen };
}

