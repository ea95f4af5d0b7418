/**
 * Fetches one file over HTTP: goes on where an earlier attempt stopped, checks what came, and leaves the whole file or none.
 * What is worth fetching, and what a refusal means to its user, is left to others.
 */
import { createHash, type Hash } from "node:crypto";
import { closeSync, createReadStream, existsSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { FedtuneError, messageOf } from "../base/errors.ts";
import { fileErrorCode, withFileErrors } from "../base/file-errors.ts";
import { ensureWritableFolder, syncFolder, writeFully } from "./files.ts";
import { waitForLock } from "./lock.ts";

/** Told how many bytes of a file have come; `totalBytes` is undefined where the server does not say. */
export type DownloadProgress = (file: string, doneBytes: number, totalBytes: number | undefined) => void;

export interface DownloadRequest {
  readonly url: string;
  /** Where the file is to lie. */
  readonly path: string;
  /** What it is called in messages. */
  readonly name: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly sizeBytes?: number;
  /** SHA-256 (64 hex digits), or Git's SHA-1 of a blob (40, together with `sizeBytes`). */
  readonly hash?: string;
  /** What to do where other content came; default: to try again. */
  readonly remedy?: string;
  readonly onProgress?: DownloadProgress;
  readonly signal?: AbortSignal;
  /** Waits before the next attempt; default: the process's clock. */
  readonly pause?: (ms: number) => Promise<unknown>;
}

/** An answer that is no file. */
export class HttpStatusError extends Error {
  readonly statusCode: number;
  constructor(statusCode: number, url: string) {
    super(`status ${statusCode} from ${url}`);
    this.statusCode = statusCode;
  }
}

/** Attempts in a row that bring nothing before a download is given up. */
const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 500;
/** Answers that may be better the next time. */
const PASSING = new Set([408, 429, 500, 502, 503, 504]);

interface Partial {
  readonly path: string;
  /** Holds the entity tag of what the partial file is a part of. */
  readonly tagPath: string;
}

/** Bytes of a file, and the digests over them. */
class Digests {
  readonly sha256: Hash = createHash("sha256");
  readonly git: Hash | undefined;
  bytes = 0;
  constructor({ hash, sizeBytes }: Pick<DownloadRequest, "hash" | "sizeBytes">) {
    this.git = hash?.length === 40 ? createHash("sha1").update(`blob ${sizeBytes}\0`) : undefined;
  }
  add(chunk: Uint8Array): void {
    this.bytes += chunk.byteLength;
    this.sha256.update(chunk);
    this.git?.update(chunk);
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function remove({ path, tagPath }: Partial): void {
  for (const file of [path, tagPath]) rmSync(file, { force: true });
}

/** The size of the whole file as an answer states it; undefined where it does not, or the bytes are packed on the way. */
function statedSize(response: Response): number | undefined {
  if (response.headers.get("content-encoding") !== null) return undefined;
  const range = /^bytes \d+-\d+\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1];
  const length = response.status === 206 ? range : response.headers.get("content-length");
  return length === null || length === undefined ? undefined : Number(length);
}

/** One request: appends what comes to the partial file. Returns the size of the whole as stated; throws what breaks. */
async function fetchMore(request: DownloadRequest, partial: Partial): Promise<number | undefined> {
  const { url, name, path, signal } = request;
  const had = sizeOf(partial.path);
  const tag = existsSync(partial.tagPath) ? readFileSync(partial.tagPath, "utf8") : undefined;
  // Without a tag or a hash nothing would tell that the file changed between two attempts.
  const from = had > 0 && (tag !== undefined || request.hash !== undefined) ? had : 0;
  const range = from === 0 ? {} : { range: `bytes=${from}-`, ...(tag === undefined ? {} : { "if-range": tag }) };
  const response = await fetch(url, { headers: { ...request.headers, "accept-encoding": "identity", ...range }, ...(signal === undefined ? {} : { signal }) });
  if (response.status === 416) {
    await response.body?.cancel();
    if (request.sizeBytes === had) return had;
    remove(partial);
    throw new TypeError("terminated", { cause: new Error("the partial file was longer than the whole") });
  }
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw new HttpStatusError(response.status, url);
  }
  const goesOn = response.status === 206 && response.headers.get("content-range")?.startsWith(`bytes ${from}-`) === true;
  const stated = statedSize(response);
  if (stated !== undefined && request.sizeBytes !== undefined && stated !== request.sizeBytes) {
    await response.body.cancel();
    remove(partial);
    throw wrongContent(request, request.sizeBytes, `${stated} bytes`);
  }
  const total = request.sizeBytes ?? stated;
  const strongTag = response.headers.get("etag");
  if (strongTag !== null && !strongTag.startsWith("W/")) writeFileSync(partial.tagPath, strongTag);
  else rmSync(partial.tagPath, { force: true });
  const fd = withFileErrors(path, "a file to write", () => openSync(partial.path, goesOn ? "a" : "w"));
  let done = goesOn ? from : 0;
  try {
    // A body's pieces are bytes; the declaration leaves them open.
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      done += chunk.byteLength;
      withFileErrors(path, "a file to write", () => writeFully(fd, chunk));
      request.onProgress?.(name, done, total);
      if (total !== undefined && done > total) break;
    }
    withFileErrors(path, "a file to write", () => fsyncSync(fd));
  } finally {
    closeSync(fd);
  }
  return total;
}

/** Whether a failed attempt may go better the next time: a broken connection or a passing fault of the server. */
function isPassing(error: unknown): boolean {
  if (error instanceof HttpStatusError) return PASSING.has(error.statusCode);
  return error instanceof TypeError && (error.message === "fetch failed" || error.message === "terminated") && !["ECONNREFUSED", "ENOTFOUND"].includes(fileErrorCode(error.cause) ?? "");
}

/** Attempts until the file is whole, or several in a row have brought nothing. Returns its size as stated. */
async function fetchWhole(request: DownloadRequest, partial: Partial): Promise<number | undefined> {
  const pause = request.pause ?? sleep;
  // The most that any attempt has brought: a server without ranges begins anew each time.
  let most = sizeOf(partial.path);
  for (let failed = 0; ; ) {
    let fault: unknown;
    try {
      const total = await fetchMore(request, partial);
      if (total === undefined || sizeOf(partial.path) >= total) return total;
      fault = new TypeError("terminated", { cause: new Error(`the connection ended after ${sizeOf(partial.path)} of ${total} bytes`) });
    } catch (error) {
      if (request.signal?.aborted === true || !isPassing(error)) throw error;
      fault = error;
    }
    failed = sizeOf(partial.path) > most ? 0 : failed + 1;
    most = Math.max(most, sizeOf(partial.path));
    if (failed >= ATTEMPTS) {
      if (fault instanceof HttpStatusError) throw fault;
      throw incomplete(request, sizeOf(partial.path), fault);
    }
    if (failed > 0) await pause(FIRST_PAUSE_MS * 2 ** (failed - 1));
  }
}

function incomplete({ name, sizeBytes }: DownloadRequest, done: number, cause: unknown): FedtuneError {
  const reason = cause instanceof Error ? messageOf(cause.cause ?? cause) : messageOf(cause);
  return new FedtuneError("resources", { where: `download of ${name}`, expected: sizeBytes === undefined ? "the whole file" : `${sizeBytes} bytes in all`, got: `${done} bytes (${reason})`, remedy: "Run the command again: it goes on from there", details: { file: name, doneBytes: done }, cause });
}

function wrongContent({ name, hash, remedy = "Try again: what was changed on the way is fetched anew" }: DownloadRequest, total: number, got: string): FedtuneError {
  const expected = `${total} bytes${hash === undefined ? "" : ` with the hash ${hash.slice(0, 12)}…`}`;
  return new FedtuneError("resources", { where: `download of ${name}`, expected, got, remedy, details: { file: name, hash: hash ?? null } });
}

/**
 * Brings a file to `path`, which appears whole or not at all. What an earlier attempt left is kept and gone on from; a broken
 * connection is taken up again several times. Several processes at once: one fetches, the others wait and fetch nothing.
 * Returns size and SHA-256 of what came; undefined where the file was there when the turn came.
 * @throws FedtuneError("resources") where less, more or other bytes came than announced, or the disk fails; HttpStatusError for a
 *   refusal; fetch's TypeError where nobody answers
 */
export async function downloadFile(request: DownloadRequest): Promise<{ readonly sizeBytes: number; readonly sha256: string } | undefined> {
  const { path, hash } = request;
  if (existsSync(path)) return undefined;
  ensureWritableFolder(dirname(path));
  using lock = await waitForLock(path, () => existsSync(path));
  if (lock === undefined || existsSync(path)) return undefined;
  const partial: Partial = { path: `${path}.incomplete`, tagPath: `${path}.incomplete.tag` };
  const total = (await fetchWhole(request, partial)) ?? sizeOf(partial.path);
  const digests = new Digests(request);
  for await (const chunk of createReadStream(partial.path)) digests.add(chunk as Uint8Array);
  const sha256 = digests.sha256.digest("hex");
  const found = digests.git?.digest("hex") ?? sha256;
  if (digests.bytes !== total || (hash !== undefined && found !== hash)) {
    remove(partial);
    throw wrongContent(request, total, digests.bytes > total ? `more than ${total} bytes` : digests.bytes < total ? `${digests.bytes} bytes` : `other content (${found.slice(0, 12)}…)`);
  }
  withFileErrors(path, "a file to write", () => {
    renameSync(partial.path, path);
    rmSync(partial.tagPath, { force: true });
    syncFolder(dirname(path));
  });
  return { sizeBytes: digests.bytes, sha256 };
}
