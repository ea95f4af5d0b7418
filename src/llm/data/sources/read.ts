/** Reads all rows of the data set that the settings name: a file, a glob, a folder, or a module of one's own. */
import { readFile, stat } from "node:fs/promises";
import { extname, join, relative, resolve } from "node:path";
import { glob, isDynamicPattern } from "tinyglobby";
import { FedtuneError, messageOf } from "../../../core/base/errors.ts";
import { sha256 } from "../../../core/base/hash.ts";
import type { RawDataset, RawRecord, SourceFile } from "../records.ts";
import type { DataSettings } from "../settings.ts";
import { csv } from "./csv.ts";
import { json } from "./json.ts";
import { jsonl } from "./jsonl.ts";
import { readOwnSource } from "./own.ts";
import { parquet } from "./parquet.ts";
import type { FileFormat } from "./source.ts";

const FORMATS: Record<Exclude<DataSettings["format"], "auto">, FileFormat> = { json, jsonl, csv, parquet };
const ENDINGS = Object.values(FORMATS).flatMap((format) => format.endings);

function formatOf(file: string, format: DataSettings["format"]): FileFormat {
  if (format !== "auto") return FORMATS[format];
  const ending = extname(file).toLowerCase();
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
  const files = options.anyEnding ? found : found.filter((file) => ENDINGS.includes(extname(file).toLowerCase()));
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

async function readOne(file: string, shown: string, format: FileFormat): Promise<{ readonly records: readonly RawRecord[]; readonly file: SourceFile }> {
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw new FedtuneError("data", { where: shown, expected: "a file that can be read", got: messageOf(cause), cause });
  });
  const records = await format.read(bytes, shown);
  if (records.length === 0) throw new FedtuneError("data", { where: shown, expected: "at least one row", got: "none", remedy: "Remove the empty file or fill it" });
  return { records, file: { path: shown, sha256: sha256(bytes), rows: records.length } };
}

/**
 * Reads all rows, file after file in the order of their names. `data.path` and `data.source` are relative to `baseFolder`.
 * Throws FedtuneError "data" with file and line for what is missing, empty or malformed.
 */
export async function readRecords(settings: DataSettings, baseFolder: string): Promise<RawDataset> {
  const { path, source, format } = settings;
  let dataset: RawDataset;
  if (source !== undefined) dataset = await readOwnSource(settings, source, baseFolder);
  else {
    if (path === undefined) throw new FedtuneError("config", { where: "data.path", expected: "a file, a glob or a folder", got: "nothing", remedy: "Set data.path or data.source" });
    const records: RawRecord[] = [];
    const files: SourceFile[] = [];
    for (const file of await listFiles(path, baseFolder, format)) {
      const single = resolve(baseFolder, path) === file;
      const one = await readOne(file, single ? path : join(relative(resolve(baseFolder), file)), formatOf(file, format));
      // One at a time: a spread of many rows overflows the stack.
      for (const record of one.records) records.push(record);
      files.push(one.file);
    }
    dataset = { records, files };
  }
  if (dataset.records.length === 0) throw new FedtuneError("data", { where: path ?? source ?? "data", expected: "at least one row", got: "none" });
  return dataset;
}
