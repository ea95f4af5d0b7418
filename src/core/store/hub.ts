/** From what a config calls a model to a folder on this machine: a folder as it is, or a model of the Hugging Face Hub. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { FedtuneError } from "../base/errors.ts";
import { ensureWritableFolder, writeFileAtomic } from "./files.ts";
import { ensureFile, type DownloadProgress } from "./hub-download.ts";
import { hubError, isUnreachable } from "./hub-errors.ts";
import { holdsModel, neededFiles, type HubFile } from "./hub-files.ts";
import { hubSettings, type Environment, type HubSettings } from "./hub-settings.ts";

export interface ResolveModelOptions {
  /** Branch, tag or commit on the Hub; default "main". */
  readonly revision?: string;
  /** Access token; default: HF_TOKEN, or the one of `hf auth login`. */
  readonly token?: string;
  /** Default: as Hugging Face's tools have it. */
  readonly cacheFolder?: string;
  readonly endpoint?: string;
  readonly onProgress?: DownloadProgress;
  readonly signal?: AbortSignal;
  /** Default: the process's. */
  readonly environment?: Environment;
}

const COMMIT = /^[0-9a-f]{40}$/;
/** As huggingface_hub has it: two names of letters, digits, "-", "_" and ".". */
const HUB_ID = /^[A-Za-z0-9_][\w.-]*\/[A-Za-z0-9_][\w.-]*$/;

interface Repository {
  readonly name: string;
  readonly revision: string;
  /** Its folder in the cache. */
  readonly folder: string;
}

function localFolder(nameOrPath: string): string | undefined {
  const path = resolve(nameOrPath);
  if (existsSync(path)) {
    if (statSync(path).isDirectory()) return nameOrPath;
    throw new FedtuneError("model", { where: `model ${nameOrPath}`, expected: "a folder", got: "a file", remedy: "Name the folder that holds config.json and the weights" });
  }
  if (HUB_ID.test(nameOrPath) && !/--|\.\.|\.git$/.test(nameOrPath)) return undefined;
  throw new FedtuneError("model", { where: `model ${nameOrPath}`, expected: "a model's folder, or a Hub id of the form owner/name", got: `no folder ${path}`, remedy: "Check the path" });
}

/** The snapshot that the cache holds for a revision, if it holds a whole model there. */
function cachedSnapshot({ folder, revision }: Repository): string | undefined {
  const reference = join(folder, "refs", ...revision.split("/"));
  const commit = COMMIT.test(revision) ? revision : existsSync(reference) ? readFileSync(reference, "utf8").trim() : "";
  const snapshot = join(folder, "snapshots", commit);
  return COMMIT.test(commit) && holdsModel(snapshot) ? snapshot : undefined;
}

/** Asks the Hub which commit the revision is and fetches what the cache lacks of it. */
async function download(repository: Repository, settings: HubSettings, options: ResolveModelOptions): Promise<string> {
  const { downloadFile, listFiles, modelInfo } = await import("@huggingface/hub");
  const { name, folder, revision } = repository;
  const { signal } = options;
  const access = {
    hubUrl: settings.endpoint,
    ...(settings.token === undefined ? {} : { accessToken: settings.token }),
    ...(signal === undefined ? {} : { fetch: ((input, init) => fetch(input, { ...init, signal })) satisfies typeof fetch }),
  };
  const { sha: commit } = await modelInfo({ ...access, name, revision, additionalFields: ["sha"] });
  if (!COMMIT.test(commit)) throw new FedtuneError("resources", { where: `model ${name}`, expected: `the commit of revision ${revision}`, got: JSON.stringify(commit) });
  const repo = { type: "model", name } as const;
  const all: HubFile[] = [];
  for await (const { type, path, size, oid, lfs } of listFiles({ ...access, repo, revision: commit })) {
    const hash = lfs?.oid ?? oid;
    if (type === "file" && hash !== undefined && /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(hash)) all.push({ path, sizeBytes: lfs?.size ?? size, hash });
  }
  const files = neededFiles(name, all);
  ensureWritableFolder(join(folder, "refs"));
  const open = async (path: string): Promise<AsyncIterable<Uint8Array>> => {
    const blob = await downloadFile({ ...access, repo, path, revision: commit });
    if (blob === null) throw new FedtuneError("resources", { where: `model ${name}`, expected: `the file ${path} that the Hub lists`, got: "none", remedy: "Try again" });
    return blob.stream();
  };
  for (const file of files) await ensureFile(folder, commit, file, { open, ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }) });
  if (revision !== commit) {
    const reference = join(folder, "refs", ...revision.split("/"));
    ensureWritableFolder(join(reference, ".."));
    writeFileAtomic(reference, commit);
  }
  return join(folder, "snapshots", commit);
}

/**
 * The folder of a model. A folder that exists is returned as given, without touching the network. A Hub id (`owner/name`) is
 * brought into Hugging Face's own cache: configuration, tokenizer, chat template and safetensors, each verified by its hash;
 * what is there already is not fetched again. Without a network, or with HF_HUB_OFFLINE=1, a model in the cache is used as it is.
 * @throws FedtuneError("model") for a path that does not exist, a model or revision that the Hub lacks or does not show, or one
 *   without safetensors; ("resources") for a network or disk that fails; ("config") for a malformed token; ("interrupted") on abort
 */
export async function resolveModelFolder(nameOrPath: string, options: ResolveModelOptions = {}): Promise<string> {
  const local = localFolder(nameOrPath);
  if (local !== undefined) return local;
  const { revision = "main", signal } = options;
  if (revision.split("/").some((part) => part === "" || part === "." || part === "..") || revision.includes("\\")) {
    throw new FedtuneError("config", { where: `model ${nameOrPath}`, expected: "a branch, tag or commit as revision", got: JSON.stringify(revision) });
  }
  const settings = hubSettings(options, options.environment ?? process.env);
  const repository = { name: nameOrPath, revision, folder: join(settings.cacheFolder, `models--${nameOrPath.replace("/", "--")}`) };
  const cached = cachedSnapshot(repository);
  if (cached !== undefined && (settings.offline || COMMIT.test(revision))) return cached;
  if (settings.offline) {
    throw new FedtuneError("model", { where: `model ${nameOrPath}`, expected: `a copy in ${settings.cacheFolder} (HF_HUB_OFFLINE is set)`, got: "none", remedy: "Unset HF_HUB_OFFLINE, or name a folder" });
  }
  try {
    return await download(repository, settings, options);
  } catch (error) {
    if (signal?.aborted === true) throw new FedtuneError("interrupted", { where: `download of ${nameOrPath}`, expected: "to run to the end", got: "a request to stop", remedy: "Run the command again: files that are whole are kept" });
    if (cached !== undefined && isUnreachable(error)) return cached;
    throw hubError(error, { name: nameOrPath, revision, endpoint: settings.endpoint, localPath: resolve(nameOrPath), hasToken: settings.token !== undefined });
  }
}
