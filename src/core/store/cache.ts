/**
 * Files that can be made again and are dear to make, kept under the hash of what they are made from.
 * What is worth keeping, and its key, is left to others; nothing is ever thrown away here but abandoned attempts.
 */
import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { withFileErrors } from "../base/file-errors.ts";
import { sha256 } from "../base/hash.ts";
import { ensureWritableFolder, syncFolder, temporaryBeside } from "./files.ts";
import { waitForLock } from "./lock.ts";

/** The folder of fedtune's cache: FEDTUNE_CACHE, else XDG_CACHE_HOME/fedtune, else ~/.cache/fedtune. Empty values count as not given. */
export function cacheFolder(environment: Readonly<Record<string, string | undefined>> = process.env): string {
  const own = environment["FEDTUNE_CACHE"];
  return own ? resolve(own) : join(environment["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "fedtune");
}

export interface CacheOptions {
  /** Default: `cacheFolder()`. */
  readonly folder?: string;
  /** End of the file's name, with its dot (".safetensors"); default none. */
  readonly extension?: string;
}

/** Removes what dead makers left beside `path`; only the holder of its lock may call this. */
function sweep(path: string): void {
  for (const name of readdirSync(dirname(path))) if (name.startsWith(`${basename(path)}.tmp-`)) rmSync(join(dirname(path), name), { recursive: true, force: true });
}

/**
 * The path of the cached file of a key. Where it lacks, `make` writes it to the temporary path that it is given; the file
 * appears whole or not at all. Several callers, threads and processes at once: one makes it, the others wait.
 * @param key says everything that the content depends on (text of any length, such as canonical JSON)
 * @throws what `make` throws, after which nothing is kept; FedtuneError("resources") where the folder cannot be written
 */
export async function cachedFile(key: string, make: (temporaryPath: string) => Promise<void>, options: CacheOptions = {}): Promise<string> {
  const path = join(options.folder ?? cacheFolder(), `${sha256(key)}${options.extension ?? ""}`);
  if (existsSync(path)) return path;
  ensureWritableFolder(dirname(path));
  using lock = await waitForLock(path, () => existsSync(path));
  if (lock === undefined || existsSync(path)) return path;
  sweep(path);
  const temporary = temporaryBeside(path);
  try {
    await make(temporary);
    withFileErrors(path, "a file to write", () => {
      renameSync(temporary, path);
      syncFolder(dirname(path));
    });
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  return path;
}
