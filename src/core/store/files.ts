/** Files that are either whole or not there, and folders that can be written. What they hold is left to others. */
import { createHash } from "node:crypto";
import { closeSync, createReadStream, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { threadId } from "node:worker_threads";
import { fileError, fileErrorCode, withFileErrors } from "../base/file-errors.ts";

/** One write call takes at most 2^31 − 1 bytes. */
const WRITE_BYTES = 1 << 30;

let temporaries = 0;

/** A path beside `path` that no other process, thread or call uses. */
export function temporaryBeside(path: string): string {
  return `${path}.tmp-${process.pid}-${threadId}-${temporaries++}`;
}

/** Writes all bytes at the file's position, however many calls that takes. Throws Node's errors. */
export function writeFully(fd: number, bytes: Uint8Array): void {
  let done = 0;
  while (done < bytes.byteLength) done += writeSync(fd, bytes, done, Math.min(WRITE_BYTES, bytes.byteLength - done));
}

/** Flushes a folder, so that a rename in it survives a power cut. */
export function syncFolder(folder: string): void {
  let fd: number | undefined;
  try {
    fd = openSync(folder, "r");
    fsyncSync(fd);
  } catch (error) {
    // Windows and some network file systems cannot open or flush folders: renames are as durable there as they get.
    const code = fileErrorCode(error);
    if (code === undefined || !["EISDIR", "EPERM", "EACCES", "EINVAL", "ENOTSUP"].includes(code)) throw error;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/**
 * Writes a file whole or not at all: to a temporary beside it, flushed, renamed, and the folder flushed.
 * @throws FedtuneError("resources") naming the path
 */
export function writeFileAtomic(path: string, content: Uint8Array | string): void {
  const temporary = temporaryBeside(path);
  withFileErrors(path, "a file to write", () => {
    try {
      const fd = openSync(temporary, "wx");
      try {
        writeFully(fd, typeof content === "string" ? Buffer.from(content) : content);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(temporary, path);
      syncFolder(dirname(path));
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
  });
}

/**
 * Makes a folder and its missing parents, one by one: Node's recursive mkdir never returns where a file system answers ENOENT
 * in a folder that exists (as /proc does).
 */
function makeFolders(folder: string): void {
  if (existsSync(folder)) return;
  makeFolders(dirname(folder));
  try {
    mkdirSync(folder);
  } catch (error) {
    // Another process may have been quicker.
    if (fileErrorCode(error) !== "EEXIST") throw error;
  }
  // A new folder's name is durable once its parent is flushed.
  syncFolder(dirname(folder));
}

/**
 * Makes a folder and its parents where they lack, and proves by a trial that files can be made in it.
 * @throws FedtuneError("resources") naming the folder
 */
export function ensureWritableFolder(folder: string): void {
  try {
    makeFolders(resolve(folder));
    const trial = temporaryBeside(join(folder, "trial"));
    closeSync(openSync(trial, "wx"));
    rmSync(trial);
  } catch (error) {
    throw fileError(error, folder, "a folder to write to");
  }
}

/**
 * SHA-256 (hexadecimal) of a file's content, read in pieces.
 * @throws FedtuneError("resources") naming the path
 */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  } catch (error) {
    throw fileError(error, path, "a file to read");
  }
  return hash.digest("hex");
}
