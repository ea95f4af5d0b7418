/** What the processes of a running program take, read from Linux's /proc; elsewhere nothing is known. */
import { type Dirent, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined; // Ended in the meantime, or no such system.
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function childrenOf(pid: number): number[] {
  return list(`/proc/${pid}/task`).flatMap((thread) => (read(`/proc/${pid}/task/${thread}/children`) ?? "").split(" ").filter((child) => child !== "").map(Number));
}

/** More than these are not listed: enough to see that there are too many. */
const MOST = 2048;

/** The process and all its descendants, as far as they still hang together; the first 2048 or a few more. */
export function descendants(root: number): number[] {
  const found = [root];
  for (let i = 0; i < found.length && found.length < MOST; i++) found.push(...childrenOf(found[i] ?? 0));
  return found;
}

/** When a process started, in the kernel's ticks: tells it from a later one of the same number. Undefined: it ended, if only just. */
export function startTime(pid: number): string | undefined {
  const stat = read(`/proc/${pid}/stat`);
  const words = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  return words?.[0] === "Z" || words?.[0] === "X" ? undefined : words?.[19];
}

/** Memory that the processes hold for themselves or share with each other, in bytes; pages shared by a fork count for each. */
export function memoryOf(pids: readonly number[]): number {
  let bytes = 0;
  for (const pid of pids) {
    for (const match of (read(`/proc/${pid}/status`) ?? "").matchAll(/^Rss(?:Anon|Shmem):\s+(\d+) kB/gm)) bytes += Number(match[1]) * 1024;
  }
  return bytes;
}

/** Processes and threads of the user who runs this; undefined where the system does not say. */
export function countTasks(): number | undefined {
  const user = process.getuid?.();
  const pids = list("/proc").filter((name) => /^\d+$/.test(name));
  if (user === undefined || pids.length === 0) return undefined;
  let tasks = 0;
  for (const pid of pids) {
    try {
      if (statSync(`/proc/${pid}`).uid === user) tasks += list(`/proc/${pid}/task`).length;
    } catch {
      continue; // Ended in the meantime.
    }
  }
  return tasks;
}

/** Bytes of all files below a folder. */
export function folderBytes(folder: string): number {
  let bytes = 0;
  for (const entry of listEntries(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) bytes += folderBytes(path);
    else bytes += sizeOf(path);
  }
  return bytes;
}

function listEntries(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

function sizeOf(path: string): number {
  try {
    return lstatSync(path).blocks * 512;
  } catch {
    return 0;
  }
}

/** Processes that carry the folder's path in their environment or stand in it: what a run left behind in a session of its own. */
export function processesOf(folder: string): number[] {
  return list("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map(Number)
    .filter((pid) => (read(`/proc/${pid}/environ`) ?? "").includes(folder) || (linkOf(`/proc/${pid}/cwd`) ?? "").startsWith(folder));
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
