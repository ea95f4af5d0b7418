/**
 * From a built-in data set to its files on this machine: in the folder that FEDTUNE_DATA names, in the cache, or fetched into it.
 * Every file is checked against its SHA-256; one that the catalog does not know is recorded at its first download.
 */
import { createReadStream, createWriteStream, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { z } from "zod";
import { FedtuneError, messageOf } from "../../../core/base/errors.ts";
import { cacheFolder } from "../../../core/store/cache.ts";
import { downloadFile } from "../../../core/store/download.ts";
import { ensureWritableFolder, hashFile, temporaryBeside, writeFileAtomic } from "../../../core/store/files.ts";
import { fetchHubFiles } from "../../../core/store/hub-dataset.ts";
import type { HubOptions } from "../../../core/store/hub-repository.ts";
import { hubSettings, type Environment } from "../../../core/store/hub-settings.ts";
import { datasetNamed, partNamed } from "./all.ts";
import { filesOf, type Dataset, type DatasetFile, type RepositorySource } from "./dataset.ts";
import { sourceError } from "./source-errors.ts";

export interface LocateOptions extends Omit<HubOptions, "cacheFolder"> {
  /** Where data sets are kept; default: the folder `datasets` of fedtune's cache. */
  readonly datasetFolder?: string;
  /** Where the Hub's files are kept; default: as Hugging Face's tools have it. */
  readonly hubCacheFolder?: string;
}

/** A file of a data set on this machine. */
export interface LocatedFile {
  /** On this machine. */
  readonly path: string;
  /** As shown to people: the data set's name and the file's. */
  readonly shown: string;
  readonly from: "FEDTUNE_DATA" | "cache" | "download";
  /** Whether its hash is the catalog's, the one of its first download, or none that is known. */
  readonly checksum: "verified" | "recorded" | "unverified";
}

/** What there is to know of a file without fetching or reading it. */
export interface FileState {
  readonly file: DatasetFile;
  /** Where it lies; absent where it would have to be fetched. */
  readonly path?: string;
  readonly sha256?: string;
  readonly checksum: LocatedFile["checksum"];
}

const recordSchema = z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/), sizeBytes: z.int().nonnegative() });

/** The folder that FEDTUNE_DATA names, made absolute; undefined where it is not set. Throws FedtuneError "config" for one that is not there. */
function dataFolder(environment: Environment = process.env): string | undefined {
  const given = environment["FEDTUNE_DATA"];
  if (given === undefined || given === "") return undefined;
  const folder = resolve(given);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true) return folder;
  throw new FedtuneError("config", { where: "FEDTUNE_DATA", expected: "a folder", got: existsSync(folder) ? `the file ${folder}` : `nothing at ${folder}`, remedy: "Name the folder that holds the data sets, or unset it" });
}

function cachePath(name: string, file: DatasetFile, { datasetFolder }: LocateOptions): string {
  return join(datasetFolder ?? join(cacheFolder(), "datasets"), name, basename(file.path));
}

function readRecord(path: string): string | undefined {
  try {
    return recordSchema.safeParse(JSON.parse(readFileSync(`${path}.json`, "utf8"))).data?.sha256;
  } catch {
    return undefined;
  }
}

/** Files of the Hub that Hugging Face's cache holds already. */
function inHubCache({ source }: Dataset, { at }: DatasetFile, options: LocateOptions): readonly string[] {
  if (source.host !== "hub" || at === undefined) return [];
  const { cacheFolder: folder } = hubSettings(options.hubCacheFolder === undefined ? {} : { cacheFolder: options.hubCacheFolder }, options.environment ?? process.env);
  return matching(join(folder, `datasets--${source.repository.replace("/", "--")}`, "snapshots", source.revision, at));
}

/** Files that a path stands for, of which the last part may hold `*`. */
function matching(path: string): readonly string[] {
  if (!path.includes("*")) return existsSync(path) ? [path] : [];
  const [before = "", after = ""] = basename(path).split("*");
  const folder = dirname(path);
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith(before) && name.endsWith(after)).toSorted().map((name) => join(folder, name)) : [];
}

/** Refuses a file whose content is not what it was when its hash was taken. */
async function requireHash(name: string, path: string, expected: { readonly sha256: string | undefined; readonly remedy: string }): Promise<void> {
  if (expected.sha256 === undefined) return;
  const found = await hashFile(path);
  if (found === expected.sha256) return;
  throw new FedtuneError("data", { where: `data set ${name}: ${path}`, expected: `the SHA-256 ${expected.sha256.slice(0, 16)}…`, got: `${found.slice(0, 16)}…`, remedy: expected.remedy, details: { dataset: name, path, expected: expected.sha256, found } });
}

/** Unpacks a gzip file to `path`, which appears whole or not at all. */
async function unpack(packed: string, path: string): Promise<void> {
  const temporary = temporaryBeside(path);
  try {
    await pipeline(createReadStream(packed), createGunzip(), createWriteStream(temporary));
    renameSync(temporary, path);
  } catch (cause) {
    throw new FedtuneError("resources", { where: packed, expected: "a gzip file", got: messageOf(cause), remedy: "Run the command again: it is fetched anew", cause });
  } finally {
    rmSync(temporary, { force: true });
    rmSync(packed, { force: true });
  }
}

interface Fetching {
  readonly name: string;
  readonly file: DatasetFile;
  readonly source: RepositorySource;
  readonly at: string;
  readonly path: string;
}

async function fetchFromGithub({ name, file, source, at, path }: Fetching, options: LocateOptions): Promise<void> {
  const environment = options.environment ?? process.env;
  const host = (environment["FEDTUNE_GITHUB"] || "https://raw.githubusercontent.com").replace(/\/+$/, "");
  const url = `${host}/${source.repository}/${source.revision}/${at}`;
  const known = file.sha256 ?? readRecord(path);
  const remedy = `The source has changed, or something on the way: try again. A file that you trust can be put into the folder of FEDTUNE_DATA as ${file.path}, or named by data.path`;
  const packed = at.endsWith(".gz");
  const shared = { url, name: `${name}: ${basename(at)}`, remedy, ...(options.onProgress && { onProgress: options.onProgress }), ...(options.signal && { signal: options.signal }), ...(options.pause && { pause: options.pause }) };
  try {
    ensureWritableFolder(dirname(path));
    if (packed) {
      await downloadFile({ ...shared, path: `${path}.gz` });
      await unpack(`${path}.gz`, path);
    } else await downloadFile({ ...shared, path, ...(known === undefined ? {} : { hash: known }), ...(file.sizeBytes === undefined ? {} : { sizeBytes: file.sizeBytes }) });
  } catch (error) {
    throw sourceError(error, { name, file: file.path, url, stopped: options.signal?.aborted === true });
  }
  try {
    if (packed) await requireHash(name, path, { sha256: known, remedy });
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
  if (file.sha256 === undefined && known === undefined) writeFileAtomic(`${path}.json`, `${JSON.stringify({ sha256: await hashFile(path), sizeBytes: statSync(path).size, url })}\n`);
}

async function locateFile(name: string, dataset: Dataset, file: DatasetFile, options: LocateOptions): Promise<readonly LocatedFile[]> {
  const environment = options.environment ?? process.env;
  const checksum = file.sha256 === undefined ? "unverified" : "verified";
  const shown = (path: string): string => `${name}/${basename(path)}`;
  const folder = dataFolder(environment);
  const given = folder === undefined ? [] : matching(join(folder, file.path));
  if (given.length > 0) {
    for (const path of given) await requireHash(name, path, { sha256: file.sha256, remedy: "Put the published file there, or take this one away so that it is fetched; to use it as it is, name it by data.path" });
    return given.map((path) => ({ path, shown: shown(path), from: "FEDTUNE_DATA", checksum }));
  }
  const { source } = dataset;
  const path = cachePath(name, file, options);
  const known = file.sha256 ?? readRecord(path);
  const state = file.sha256 === undefined && known !== undefined ? "recorded" : checksum;
  if (existsSync(path)) {
    await requireHash(name, path, { sha256: known, remedy: `Delete it, so that it is fetched anew` });
    return [{ path, shown: shown(path), from: "cache", checksum: state }];
  }
  if (source.host === "none" || file.at === undefined) {
    const got = folder === undefined ? "no folder (FEDTUNE_DATA is not set)" : `none in ${folder}`;
    throw new FedtuneError("data", { where: `data set ${name}`, expected: `the file ${file.path} in the folder of FEDTUNE_DATA`, got, remedy: `It cannot be fetched: ${source.host === "none" ? `it was put together from ${source.from}` : "no address gives it"}` });
  }
  if (source.host === "hub") {
    const { commit: _commit, files } = await fetchHubFiles({ name: source.repository, revision: source.revision, file: file.at }, { ...options, ...(options.hubCacheFolder === undefined ? {} : { cacheFolder: options.hubCacheFolder }) });
    return files.map((found) => ({ path: found.path, shown: shown(found.path), from: "cache", checksum: "verified" }));
  }
  if (hubSettings({}, environment).offline) throw new FedtuneError("data", { where: `data set ${name}`, expected: `${file.path} in the folder of FEDTUNE_DATA or in the cache (HF_HUB_OFFLINE is set)`, got: "neither", remedy: `Unset HF_HUB_OFFLINE, or run \`fedtune data get ${name}\` where there is a network` });
  await fetchFromGithub({ name, file, source, at: file.at, path }, options);
  return [{ path, shown: shown(path), from: "download", checksum: file.sha256 === undefined ? "recorded" : "verified" }];
}

/**
 * The files of one part of a built-in data set, fetched where they are not on this machine; each is checked by its hash.
 * @throws FedtuneError("config") for an unknown name or part; ("data") for a file whose hash differs, or that is not here and cannot
 *   be fetched; ("resources") for a network or disk that fails; ("interrupted") on abort
 */
export async function locateDataset(name: string, part?: string, options: LocateOptions = {}): Promise<readonly LocatedFile[]> {
  const dataset = datasetNamed(name);
  const located: LocatedFile[] = [];
  for (const file of filesOf(dataset, partNamed(name, dataset, part))) located.push(...(await locateFile(name, dataset, file, options)));
  return located;
}

/** What is known of the files of a built-in data set; nothing is fetched, read or checked. */
export function datasetStates(name: string, part?: string, options: LocateOptions = {}): readonly FileState[] {
  const dataset = datasetNamed(name);
  const folder = dataFolder(options.environment);
  return filesOf(dataset, part).map((file) => {
    const cached = cachePath(name, file, options);
    const path = [...(folder === undefined ? [] : matching(join(folder, file.path))), ...matching(cached), ...inHubCache(dataset, file, options)][0];
    const recorded = readRecord(cached);
    const sha256 = file.sha256 ?? recorded;
    return { file, ...(path === undefined ? {} : { path }), ...(sha256 === undefined ? {} : { sha256 }), checksum: file.sha256 !== undefined ? "verified" : recorded !== undefined ? "recorded" : "unverified" };
  });
}
