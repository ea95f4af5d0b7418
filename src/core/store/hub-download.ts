/** Brings files of a Hub repository into Hugging Face's cache layout: `blobs/HASH`, and `snapshots/COMMIT/PATH` as links to them. */
import { copyFileSync, existsSync, mkdirSync, renameSync, symlinkSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { withFileErrors } from "../base/file-errors.ts";
import { downloadFile, type DownloadRequest } from "./download.ts";
import { temporaryBeside } from "./files.ts";
import type { HubFile } from "./hub-files.ts";

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

/** Where a file of a repository lies in the cache. */
export function snapshotPath(folder: string, commit: string, path: string): string {
  return join(folder, "snapshots", commit, ...path.split("/"));
}

/**
 * Makes sure that a file lies in `folder`/snapshots/`commit`; fetches it only where neither it nor its blob is there.
 * @throws what `downloadFile` throws
 */
export async function ensureFile(folder: string, commit: string, { file, ...request }: { readonly file: HubFile } & Pick<DownloadRequest, "url" | "headers" | "onProgress" | "signal" | "pause">): Promise<void> {
  const path = snapshotPath(folder, commit, file.path);
  if (existsSync(path)) return;
  const blobPath = join(folder, "blobs", file.hash);
  await downloadFile({ ...request, path: blobPath, name: file.path, sizeBytes: file.sizeBytes, hash: file.hash });
  linkTo(blobPath, path);
}
