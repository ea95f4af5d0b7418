/** Folders of running programs on the host: one each, named by the process that made it, so that those of dead ones can be removed. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PREFIX = "fedtune-code-";

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Another user's process lives, too.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** Removes the folders of processes that were killed before they could. */
function sweep(folder: string): void {
  for (const name of readdirSync(folder)) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) continue;
    try {
      rmSync(join(folder, name), { recursive: true, force: true });
    } catch {
      continue; // Another user's.
    }
  }
}

const swept = new Set<string>();

/** A new folder for one run, in the system's folder for temporary files. Its end is the end of everything in it. */
export function makeScratch(): { readonly folder: string } & Disposable {
  const parent = tmpdir();
  if (!swept.has(parent)) sweep(parent);
  swept.add(parent);
  const folder = mkdtempSync(join(parent, `${PREFIX}${process.pid}-`));
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }) };
}
