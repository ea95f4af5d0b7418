/** Reads all rows of the data set that the settings name: a file, a glob, a folder, a built-in data set, one of the Hub, or a module of one's own. */
import { readFile, stat } from "node:fs/promises";
import { extname, relative, resolve } from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { glob, isDynamicPattern } from "tinyglobby";
import { FedtuneError, messageOf } from "../../../core/base/errors.ts";
import { sha256 } from "../../../core/base/hash.ts";
import { permutation, randomKey } from "../../../core/base/random.ts";
import { fetchHubFiles, HUB_PREFIX, parseHubReference } from "../../../core/store/hub-dataset.ts";
import { completeSettings, datasetOf } from "../catalog/complete.ts";
import { locateDataset, type LocateOptions } from "../catalog/locate.ts";
import { applyRecipe } from "../recipe.ts";
import type { RawDataset, RawRecord, SourceFile } from "../records.ts";
import type { DataSettings } from "../settings.ts";
import { csv } from "./csv.ts";
import { json } from "./json.ts";
import { jsonl } from "./jsonl.ts";
import { readOwnSource } from "./own.ts";
import { parquet } from "./parquet.ts";
import type { FileFormat } from "./source.ts";
import { text } from "./text.ts";

/** How rows are read. */
export interface ReadOptions {
  /** Seed of data.sample; default 0. */
  readonly seed?: number;
  /** How data sets that are not on this machine are fetched. */
  readonly locate?: LocateOptions;
}

const FORMATS: Record<Exclude<DataSettings["format"], "auto">, FileFormat> = { json, jsonl, csv, parquet, text };
const ENDINGS = Object.values(FORMATS).flatMap((format) => format.endings);

/** The ending that tells the format; that of a packed file stands before .gz. */
function endingOf(file: string): string {
  return extname(file.replace(/\.gz$/i, "")).toLowerCase();
}

function formatOf(file: string, format: DataSettings["format"]): FileFormat {
  if (format !== "auto") return FORMATS[format];
  const ending = endingOf(file);
  const found = Object.values(FORMATS).find((f) => f.endings.includes(ending));
  if (found !== undefined) return found;
  throw new FedtuneError("data", { where: file, expected: `a file that ends in ${ENDINGS.join(", ")}`, got: ending === "" ? "no ending" : ending, remedy: "Set data.format" });
}

function byName(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Files of a folder or glob in the order of their names, so that the order does not depend on the file system. */
async function findFiles(pattern: string, options: { readonly cwd: string; readonly shown: string; readonly anyEnding: boolean }): Promise<readonly string[]> {
  const found = await glob(pattern, { cwd: options.cwd, absolute: true, onlyFiles: true, expandDirectories: false });
  const files = options.anyEnding ? found : found.filter((file) => ENDINGS.includes(endingOf(file)));
  if (files.length > 0) return files.sort(byName);
  const got = found.length > 0 ? `only ${found.slice(0, 3).map((file) => relative(options.cwd, file)).join(", ")}` : "no file";
  throw new FedtuneError("data", { where: options.shown, expected: `files that end in ${ENDINGS.join(", ")}`, got, remedy: "Check data.path, which is relative to the config file" });
}

async function listFiles(path: string, baseFolder: string, format: DataSettings["format"]): Promise<readonly string[]> {
  const absolute = resolve(baseFolder, path);
  const anyEnding = format !== "auto";
  const found = await stat(absolute).catch(() => undefined);
  if (found?.isDirectory() === true) return findFiles("*", { cwd: absolute, shown: path, anyEnding });
  if (found !== undefined) return [absolute];
  if (isDynamicPattern(path)) return findFiles(path, { cwd: resolve(baseFolder), shown: path, anyEnding });
  throw new FedtuneError("data", { where: path, expected: "a file, a glob or a folder", got: "nothing there", remedy: "Check data.path, which is relative to the config file" });
}

/** A file to be read, as it lies here and as people know it. */
interface ListedFile {
  readonly path: string;
  readonly shown: string;
}

async function listSource(settings: DataSettings, baseFolder: string, options: ReadOptions): Promise<readonly ListedFile[]> {
  const { name, path, part, format } = settings;
  if (name?.startsWith(HUB_PREFIX) === true) {
    const { hubCacheFolder, ...hub } = options.locate ?? {};
    const { files } = await fetchHubFiles(parseHubReference(name), { ...hub, ...(hubCacheFolder === undefined ? {} : { cacheFolder: hubCacheFolder }) });
    return files.map((file) => ({ path: file.path, shown: `${name.split("/").slice(0, 2).join("/")}/${file.name}` }));
  }
  if (name !== undefined) return locateDataset(name, part, options.locate);
  if (path === undefined) throw new FedtuneError("config", { where: "data.path", expected: "a file, a glob or a folder", got: "nothing", remedy: "Set data.path, data.name or data.source" });
  return (await listFiles(path, baseFolder, format)).map((file) => ({ path: file, shown: resolve(baseFolder, path) === file ? path : relative(resolve(baseFolder), file) }));
}

async function readBytes({ path, shown }: ListedFile): Promise<Uint8Array> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new FedtuneError("data", { where: shown, expected: "a file that can be read", got: messageOf(cause), cause });
  });
  if (!path.toLowerCase().endsWith(".gz")) return bytes;
  return promisify(gunzip)(bytes).catch((cause: unknown) => {
    throw new FedtuneError("data", { where: shown, expected: "a gzip file", got: messageOf(cause), remedy: "Fetch or write the file again", cause });
  });
}

/** A share of a file's rows, drawn under the seed, in the order of the file; at least one. */
function drawSample(records: readonly RawRecord[], share: number, place: { readonly seed: number; readonly file: number }): readonly RawRecord[] {
  if (share === 1) return records;
  const order = permutation(randomKey(place.seed, "data sample"), [place.file], records.length);
  const taken = order.slice(0, Math.max(1, Math.round(share * records.length))).sort((a, b) => a - b);
  return Array.from(taken, (row) => records[row]).filter((record) => record !== undefined);
}

async function readFiles(settings: DataSettings, baseFolder: string, options: ReadOptions): Promise<RawDataset> {
  const { format, sample = 1 } = settings;
  const seed = options.seed ?? 0;
  const columns = datasetOf(settings)?.keep;
  const records: RawRecord[] = [];
  const files: SourceFile[] = [];
  for (const [index, file] of (await listSource(settings, baseFolder, options)).entries()) {
    const bytes = await readBytes(file);
    const all = await formatOf(file.path, format).read(bytes, file.shown, columns);
    if (all.length === 0) throw new FedtuneError("data", { where: file.shown, expected: "at least one row", got: "none", remedy: "Remove the empty file or fill it" });
    const taken = drawSample(all, sample, { seed, file: index });
    // One at a time: a spread of many rows overflows the stack.
    for (const record of taken) records.push(record);
    files.push({ path: file.shown, sha256: sha256(bytes), rows: taken.length });
  }
  return { records, files, ...(sample < 1 && { recipe: `sample ${sample} of seed ${seed}` }) };
}

/**
 * Reads all rows, file after file in the order of their names, and does to them what the catalog and `data.derive` want.
 * `data.path` and `data.source` are relative to `baseFolder`; what `data.name` names is fetched where it is not on this machine.
 * Throws FedtuneError "data" with file and line for what is missing, empty or malformed, "config" for an unknown name.
 */
export async function readRecords(settings: DataSettings, baseFolder: string, options: ReadOptions = {}): Promise<RawDataset> {
  const complete = completeSettings(settings);
  const raw = complete.source !== undefined ? await readOwnSource(complete, complete.source, baseFolder) : await readFiles(complete, baseFolder, options);
  const dataset = applyRecipe(raw, complete);
  if (dataset.records.length === 0) throw new FedtuneError("data", { where: complete.path ?? complete.name ?? complete.source ?? "data", expected: "at least one row", got: "none" });
  return dataset;
}
