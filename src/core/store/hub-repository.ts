/** Repositories of the Hugging Face Hub, of models and of data sets: from a name and a revision to files in the cache. Which files are wanted is left to others. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FedtuneError } from "../base/errors.ts";
import type { DownloadRequest } from "./download.ts";
import { ensureWritableFolder, writeFileAtomic } from "./files.ts";
import { ensureFile } from "./hub-download.ts";
import { hubError, isUnreachable } from "./hub-errors.ts";
import type { HubFile } from "./hub-files.ts";
import { hubSettings, type Environment, type HubSettings } from "./hub-settings.ts";

export interface HubOptions extends Pick<DownloadRequest, "onProgress" | "signal" | "pause"> {
  /** Access token; default: HF_TOKEN, or the one of `hf auth login`. */
  readonly token?: string;
  /** Default: as Hugging Face's tools have it. */
  readonly cacheFolder?: string;
  readonly endpoint?: string;
  /** Default: the process's. */
  readonly environment?: Environment;
}

export interface HubRepository {
  readonly type: "model" | "dataset";
  /** `owner/name`. */
  readonly name: string;
  /** Branch, tag or commit. */
  readonly revision: string;
}

/** What is wanted of a repository. */
export interface Wanted {
  /** Folder whose files are listed; default the root. */
  readonly folder?: string;
  /** The files to fetch, of those listed. */
  readonly pick: (files: readonly HubFile[]) => readonly HubFile[];
  /** Whether a snapshot in the cache holds what is wanted: what can be told without the network. */
  readonly holds: (snapshot: string) => boolean;
  /** What the name would be on this machine, for messages. */
  readonly localPath?: string;
}

/** Files of a repository that lie in the cache. */
export interface Snapshot {
  readonly folder: string;
  readonly commit: string;
}

const COMMIT = /^[0-9a-f]{40}$/;
/** As huggingface_hub has it: two names of letters, digits, "-", "_" and ".". */
const HUB_ID = /^[A-Za-z0-9_][\w.-]*\/[A-Za-z0-9_][\w.-]*$/;

/** Whether a text can be the id of a repository on the Hub. */
export function isHubId(name: string): boolean {
  return HUB_ID.test(name) && !/--|\.\.|\.git$/.test(name);
}

function cachedSnapshot(folder: string, revision: string, wanted: Wanted): Snapshot | undefined {
  const reference = join(folder, "refs", ...revision.split("/"));
  const commit = COMMIT.test(revision) ? revision : existsSync(reference) ? readFileSync(reference, "utf8").trim() : "";
  const snapshot = join(folder, "snapshots", commit);
  return COMMIT.test(commit) && wanted.holds(snapshot) ? { folder: snapshot, commit } : undefined;
}

/** Asks the Hub which commit the revision is and fetches what the cache lacks of it. */
async function download({ type, name, revision }: HubRepository, folder: string, { settings, wanted, options }: { readonly settings: HubSettings; readonly wanted: Wanted; readonly options: HubOptions }): Promise<Snapshot> {
  const { datasetInfo, listFiles, modelInfo } = await import("@huggingface/hub");
  const { signal, onProgress, pause } = options;
  const access = {
    hubUrl: settings.endpoint,
    ...(settings.token === undefined ? {} : { accessToken: settings.token }),
    ...(signal === undefined ? {} : { fetch: ((input, init) => fetch(input, { ...init, signal })) satisfies typeof fetch }),
  };
  const { sha: commit } = type === "model" ? await modelInfo({ ...access, name, revision, additionalFields: ["sha"] }) : await datasetInfo({ ...access, name, revision, additionalFields: ["sha"] });
  if (!COMMIT.test(commit)) throw new FedtuneError("resources", { where: `${type} ${name}`, expected: `the commit of revision ${revision}`, got: JSON.stringify(commit) });
  const all: HubFile[] = [];
  for await (const { type: kind, path, size, oid, lfs } of listFiles({ ...access, repo: { type, name }, revision: commit, ...(wanted.folder === undefined ? {} : { path: wanted.folder }) })) {
    const hash = lfs?.oid ?? oid;
    if (kind === "file" && hash !== undefined && /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(hash) && !path.split("/").includes("..")) all.push({ path, sizeBytes: lfs?.size ?? size, hash });
  }
  const files = wanted.pick(all);
  ensureWritableFolder(join(folder, "refs"));
  const base = `${settings.endpoint}/${type === "dataset" ? "datasets/" : ""}${name}/resolve/${commit}`;
  const headers = settings.token === undefined ? {} : { authorization: `Bearer ${settings.token}` };
  for (const file of files) {
    const url = `${base}/${file.path.split("/").map(encodeURIComponent).join("/")}`;
    await ensureFile(folder, commit, { file, url, headers, ...(onProgress && { onProgress }), ...(signal && { signal }), ...(pause && { pause }) });
  }
  if (revision !== commit) {
    const reference = join(folder, "refs", ...revision.split("/"));
    ensureWritableFolder(join(reference, ".."));
    writeFileAtomic(reference, commit);
  }
  return { folder: join(folder, "snapshots", commit), commit };
}

/**
 * Brings the wanted files of a repository into Hugging Face's own cache, each verified by its hash; what is there already is not
 * fetched again. Without a network, or with HF_HUB_OFFLINE=1, what the cache holds is used as it is.
 * @throws FedtuneError("model") or ("data") for what the Hub lacks or does not show; ("resources") for a network or disk that
 *   fails; ("config") for a malformed token or revision; ("interrupted") on abort
 */
export async function fetchSnapshot(repository: HubRepository, wanted: Wanted, options: HubOptions): Promise<Snapshot> {
  const { type, name, revision } = repository;
  if (revision.split("/").some((part) => part === "" || part === "." || part === "..") || revision.includes("\\")) {
    throw new FedtuneError("config", { where: `${type} ${name}`, expected: "a branch, tag or commit as revision", got: JSON.stringify(revision) });
  }
  const settings = hubSettings(options, options.environment ?? process.env);
  const folder = join(settings.cacheFolder, `${type}s--${name.replace("/", "--")}`);
  const cached = cachedSnapshot(folder, revision, wanted);
  if (cached !== undefined && (settings.offline || COMMIT.test(revision))) return cached;
  if (settings.offline) {
    throw new FedtuneError(type === "model" ? "model" : "data", { where: `${type} ${name}`, expected: `a copy in ${settings.cacheFolder} (HF_HUB_OFFLINE is set)`, got: "none", remedy: "Unset HF_HUB_OFFLINE, or name a folder" });
  }
  try {
    return await download(repository, folder, { settings, wanted, options });
  } catch (error) {
    if (options.signal?.aborted === true) throw new FedtuneError("interrupted", { where: `download of ${name}`, expected: "to run to the end", got: "a request to stop", remedy: "Run the command again: it goes on from what has come" });
    if (cached !== undefined && isUnreachable(error)) return cached;
    throw hubError(error, { type, name, revision, endpoint: settings.endpoint, hasToken: settings.token !== undefined, ...(wanted.localPath === undefined ? {} : { localPath: wanted.localPath }) });
  }
}
