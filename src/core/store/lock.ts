/**
 * One writer at a time, across processes: a lock is an empty file beside what it guards, whose name says which process holds it.
 * Each claimant first makes its own file and then looks for others that are alive, so two can never both hold the lock
 * (at worst both step back). A file whose process is dead is swept away.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { threadId } from "node:worker_threads";
import { trackResource } from "../base/disposal.ts";
import { FedtuneError } from "../base/errors.ts";
import { fileErrorCode, withFileErrors } from "../base/file-errors.ts";

/** Who holds a lock. `start` tells a process from a later one of the same number, where the system says it. */
interface Holder {
  readonly pid: number;
  readonly host: string;
  readonly start: string;
}

/** How often to look whether the holder has finished. */
const POLL_MS = 50;

let claims = 0;

/** When a process started, in the kernel's ticks; "" where the system does not say; undefined where it is dead or a zombie. */
function startOf(pid: number): string | undefined {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (fileErrorCode(error) === "ESRCH") return undefined;
  }
  try {
    // proc(5): after the command in brackets come state (field 3) and, as field 22, the start time.
    const fields = readFileSync(`/proc/${pid}/stat`, "latin1").replace(/^.*\) /s, "").split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : (fields[19] ?? "");
  } catch {
    return "";
  }
}

/** The holder that a lock's file names: `….lock-PID-START-UNIQUE@HOST`. */
function parseHolder(suffix: string): Holder | undefined {
  const [, pid, start, host] = /^(\d+)-(\d*)-[\d.]+@(.*)$/.exec(suffix) ?? [];
  return pid === undefined || start === undefined || host === undefined ? undefined : { pid: Number(pid), start, host: decodeURIComponent(host) };
}

function isAlive(holder: Holder): boolean {
  // Processes of another machine (or container) cannot be looked up: its lock stands until someone removes it.
  if (holder.host !== hostname()) return true;
  const start = startOf(holder.pid);
  return start !== undefined && (start === "" || holder.start === "" || start === holder.start);
}

/** A lock that was found to be held. */
export interface LockRefusal {
  readonly holder: Holder;
  readonly lockPath: string;
}

/**
 * Tries to take the lock on `path`: the lock, to be disposed of, or who holds it.
 * Throws FedtuneError("resources") where the lock's file cannot be written.
 */
export function tryLock(path: string): Disposable | LockRefusal {
  const folder = dirname(path);
  const prefix = `${basename(path)}.lock-`;
  const own = `${prefix}${process.pid}-${startOf(process.pid) ?? ""}-${threadId}.${claims++}@${encodeURIComponent(hostname())}`;
  const ownPath = join(folder, own);
  withFileErrors(path, "a file to write", () => writeFileSync(ownPath, ""));
  for (const name of readdirSync(folder)) {
    if (!name.startsWith(prefix) || name === own) continue;
    const lockPath = join(folder, name);
    const holder = parseHolder(name.slice(prefix.length));
    if (holder !== undefined && isAlive(holder)) {
      rmSync(ownPath, { force: true });
      return { holder, lockPath };
    }
    rmSync(lockPath, { force: true });
  }
  const untrack = trackResource("lock");
  return {
    [Symbol.dispose]: () => {
      untrack();
      rmSync(ownPath, { force: true });
    },
  };
}

/** Takes the lock on `path`. Throws FedtuneError("resources") naming the process that holds it. */
export function acquireLock(path: string): Disposable {
  const lock = tryLock(path);
  if (Symbol.dispose in lock) return lock;
  const { holder, lockPath } = lock;
  const elsewhere = holder.host === hostname() ? "" : ` on ${holder.host}`;
  throw new FedtuneError("resources", {
    where: path,
    expected: "a file that no other process writes",
    got: `process ${holder.pid}${elsewhere}, which is writing it`,
    remedy: elsewhere === "" ? `Wait for it, or stop it (kill ${holder.pid})` : `Wait for it; if it no longer runs, delete ${lockPath}`,
    details: { pid: holder.pid, host: holder.host, lockPath },
  });
}

/**
 * The lock on `path`, once whoever holds it has let go; undefined as soon as `isDone` says that nothing is left to do.
 * Throws FedtuneError("resources") where the lock's file cannot be written.
 */
export async function waitForLock(path: string, isDone: () => boolean): Promise<Disposable | undefined> {
  for (;;) {
    const lock = tryLock(path);
    if (Symbol.dispose in lock) return lock;
    // Two that step back at the same instant must not meet again: each waits for a time of its own.
    await sleep(POLL_MS + ((process.pid + 5 * threadId) % 17));
    if (isDone()) return undefined;
  }
}
