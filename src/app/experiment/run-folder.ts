/** A run's folder: where things lie in it, what it is called, and how it comes into being. */
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileErrorCode, withFileErrors } from "../../core/base/file-errors.ts";
import { ensureWritableFolder, syncFolder, temporaryBeside, writeFileAtomic } from "../../core/store/files.ts";

/** The resolved plan. */
export const PLAN = "experiment.yaml";
export const JOURNAL = "journal.jsonl";
export const METRICS = "metrics.jsonl";
export const BLOBS = "blobs";
/** Who holds which rows. */
export const MANIFEST = "partition.json";
/** The adapter that is handed over, in PEFT's format. */
export const ADAPTER = "adapter";

/** The first folder of the series `output/stem`, `output/stem-2`, … that does not exist. */
export function nextFolder(output: string, stem: string): string {
  for (let n = 1; ; n++) {
    const folder = join(output, n === 1 ? stem : `${stem}-${n}`);
    if (!existsSync(folder)) return folder;
  }
}

/**
 * Makes a run's folder with these files in it: all of them or no folder, so that whatever is killed can be resumed or never began.
 * @returns the folder; the next of its series where another process took `wanted` in the meantime
 * @throws FedtuneError("resources") naming the path
 */
export function createRunFolder(wanted: { readonly output: string; readonly stem: string }, files: Readonly<Record<string, string>>): string {
  const { output, stem } = wanted;
  ensureWritableFolder(output);
  // A name with a dot in front: half-made folders are no runs.
  const temporary = temporaryBeside(join(output, `.${stem}`));
  withFileErrors(temporary, "a folder to write", () => mkdirSync(temporary));
  try {
    for (const [name, text] of Object.entries(files)) writeFileAtomic(join(temporary, name), text);
    for (;;) {
      const folder = nextFolder(output, stem);
      if (!moveIfFree(temporary, folder)) continue;
      syncFolder(dirname(folder));
      return folder;
    }
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
}

/** Renames a folder that is not empty; false where the target came into being in the meantime. */
function moveIfFree(from: string, to: string): boolean {
  return withFileErrors(to, "a folder to make", () => {
    try {
      renameSync(from, to);
      return true;
    } catch (error) {
      if (existsSync(to) && ["ENOTEMPTY", "EEXIST", "EPERM"].includes(fileErrorCode(error) ?? "")) return false;
      throw error;
    }
  });
}

/** What people call a run: its folder's name. */
export function runName(folder: string): string {
  return basename(folder);
}
