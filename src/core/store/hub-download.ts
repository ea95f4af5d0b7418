/** Brings files of a Hub repository into Hugging Face's cache layout: `blobs/HASH`, and `snapshots/COMMIT/PATH` as links to them. */
import { createHash, type Hash } from "node:crypto";
import { closeSync, copyFileSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { FedtuneError } from "../base/errors.ts";
import { withFileErrors } from "../base/file-errors.ts";
import { temporaryBeside, writeFully } from "./files.ts";
import type { HubFile } from "./hub-files.ts";

/** Told how many bytes of a file have come. */
export type DownloadProgress = (file: string, doneBytes: number, totalBytes: number) => void;

/** Opens the content of a file as a stream of bytes. */
export type OpenContent = (path: string) => Promise<AsyncIterable<Uint8Array>>;

/** A digest that must come to the file's hash: plain SHA-256, or Git's SHA-1 over a blob's head and content. */
function digestFor({ hash, sizeBytes }: HubFile): Hash {
  return hash.length === 64 ? createHash("sha256") : createHash("sha1").update(`blob ${sizeBytes}\0`);
}

async function fetchBlob(file: HubFile, blobPath: string, open: OpenContent, onProgress: DownloadProgress | undefined): Promise<void> {
  const temporary = `${temporaryBeside(blobPath)}.incomplete`;
  try {
    const fd = withFileErrors(blobPath, "a file to write", () => openSync(temporary, "wx"));
    const digest = digestFor(file);
    let doneBytes = 0;
    try {
      for await (const chunk of await open(file.path)) {
        doneBytes += chunk.byteLength;
        if (doneBytes > file.sizeBytes) break;
        digest.update(chunk);
        withFileErrors(blobPath, "a file to write", () => writeFully(fd, chunk));
        onProgress?.(file.path, doneBytes, file.sizeBytes);
      }
      withFileErrors(blobPath, "a file to write", () => fsyncSync(fd));
    } finally {
      closeSync(fd);
    }
    if (doneBytes !== file.sizeBytes || digest.digest("hex") !== file.hash) {
      const got = doneBytes === file.sizeBytes ? "other content" : `${doneBytes > file.sizeBytes ? "more than " : ""}${Math.min(doneBytes, file.sizeBytes)} bytes`;
      throw new FedtuneError("resources", { where: `download of ${file.path}`, expected: `${file.sizeBytes} bytes with the hash ${file.hash.slice(0, 12)}…`, got, remedy: "Try again: what was cut off or changed on the way is fetched anew" });
    }
    withFileErrors(blobPath, "a file to write", () => renameSync(temporary, blobPath));
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Puts a link to the blob, or a copy where the system has no links. */
function linkTo(blobPath: string, path: string): void {
  withFileErrors(path, "a file to write", () => {
    mkdirSync(dirname(path), { recursive: true });
    const temporary = temporaryBeside(path);
    try {
      symlinkSync(relative(dirname(path), blobPath), temporary);
    } catch {
      copyFileSync(blobPath, temporary);
    }
    renameSync(temporary, path);
  });
}

/**
 * Makes sure that a file lies in `repository`/snapshots/`commit`; fetches it only where neither it nor its blob is there.
 * @throws FedtuneError("resources") where less, more or other bytes came than the Hub announced, or the cache cannot be written
 */
export async function ensureFile(repository: string, commit: string, file: HubFile, options: { readonly open: OpenContent; readonly onProgress?: DownloadProgress }): Promise<void> {
  const path = join(repository, "snapshots", commit, ...file.path.split("/"));
  if (existsSync(path)) return;
  const blobPath = join(repository, "blobs", file.hash);
  if (!existsSync(blobPath)) {
    withFileErrors(blobPath, "a folder to write to", () => mkdirSync(dirname(blobPath), { recursive: true }));
    await fetchBlob(file, blobPath, options.open, options.onProgress);
  }
  linkTo(blobPath, path);
}
