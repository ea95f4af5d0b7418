/** Watches over a started program: its time, memory, disk and output, until it ends or is stopped. */
import type { ChildProcess } from "node:child_process";
import type { Readable } from "node:stream";
import { interrupted } from "../../../core/base/errors.ts";
import { Captured } from "./captured.ts";
import { Family } from "./family.ts";
import type { Limits } from "./limits.ts";
import { outcomeOf, type Outcome, type RunResult } from "./outcome.ts";
import type { Phase } from "./phases.ts";
import { memoryOf } from "./processes.ts";

/** How often memory and disk are looked at. */
const LOOK_MS = 100;
/** Time for an enclosure to be built and torn down, on a slow and busy machine. */
const BUILD_MS = 60_000;
/** Processes that the enclosure itself consists of. */
const ENCLOSING = 8;

export interface Following {
  /** Of this run alone, where the program's processes must be looked for; undefined where their first process takes all with it. */
  readonly folder: string | undefined;
  readonly phases: readonly Phase[];
  readonly limits: Limits;
  readonly signal: AbortSignal | undefined;
  /** Bytes on the disk, where the file system does not limit them itself. */
  readonly diskBytes: (() => number) | undefined;
}

/** Why a run was stopped from outside. */
type Stopped = "timed-out" | "memory" | "processes" | "disk" | "output" | "interrupted";

/** What the phases' script has said so far. */
interface Told {
  ready: boolean;
  /** Exit statuses of the phases that ended. */
  readonly statuses: number[];
  left: boolean;
}

/** Calls `heard` after each line of the script. */
function listen(stream: Readable | null | undefined, told: Told, heard: () => void): void {
  let text = "";
  stream?.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      const [word, value] = text.slice(0, end).split(" ");
      text = text.slice(end + 1);
      if (word === "ready") told.ready = true;
      if (word === "left") told.left = true;
      if (word === "status") told.statuses.push(Number(value));
      heard();
    }
  });
}

/** The end of the child and of its streams, which close when the last process that holds them is gone. */
function ended(child: ChildProcess, atExit: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", atExit);
    child.once("close", () => resolve());
  });
}

/**
 * Waits for the end of a started program, or brings it about.
 * @throws FedtuneError("interrupted") when the signal aborts; an Error where the enclosure itself did not start
 */
export async function follow(child: ChildProcess, { folder, phases, limits, signal, diskBytes }: Following): Promise<RunResult> {
  const started = performance.now();
  const stdout = new Captured();
  const stderr = new Captured();
  const told: Told = { ready: false, statuses: [], left: false };
  using family = child.pid === undefined ? undefined : new Family(child.pid, folder);
  let stopped: Stopped | undefined;
  const stop = (why: Stopped): void => {
    stopped ??= why;
    family?.kill();
  };

  let timer = setTimeout(stop, BUILD_MS, "timed-out");
  listen(child.stdio[3] as Readable | null | undefined, told, () => {
    clearTimeout(timer);
    timer = setTimeout(stop, phases[told.statuses.length]?.wallMs ?? BUILD_MS, "timed-out");
  });
  for (const [stream, captured] of [[child.stdout, stdout], [child.stderr, stderr]] as const) {
    stream?.on("data", (chunk: Buffer) => {
      captured.add(chunk);
      if (stdout.total + stderr.total > limits.outputBytes) stop("output");
    });
  }
  const look = setInterval(() => {
    if (stopped !== undefined) return void family?.kill();
    const there = family?.look() ?? [];
    if (there.length > limits.processes + ENCLOSING) stop("processes");
    else if (memoryOf(there) > limits.memoryBytes) stop("memory");
    if (diskBytes !== undefined && diskBytes() > limits.diskBytes) stop("disk");
  }, LOOK_MS);
  const interrupt = (): void => stop("interrupted");
  signal?.addEventListener("abort", interrupt, { once: true });
  try {
    await ended(child, () => {
      // In a process namespace the script itself has looked; what is seen here are the enclosure's own last processes.
      if ((family?.kill() ?? 0) > 0 && folder !== undefined) told.left = true;
    });
  } finally {
    clearTimeout(timer);
    clearInterval(look);
    signal?.removeEventListener("abort", interrupt);
  }

  if (stopped === "interrupted") throw interrupted("running generated code");
  if (!told.ready && stopped === undefined) throw new Error(`the enclosure did not start (exit ${child.exitCode}): ${stderr.text().trim()}`);
  return { ...conclude(told, { phases, stopped, stderr: stderr.text() }), stdout: stdout.text(), stderr: stderr.text(), wallMs: performance.now() - started };
}

interface End {
  readonly phases: readonly Phase[];
  readonly stopped: Exclude<Stopped, "interrupted"> | undefined;
  readonly stderr: string;
}

/** The outcome, from what the script said and how the run was stopped. */
function conclude({ statuses, left }: Told, { phases, stopped, stderr }: End): Pick<RunResult, "outcome" | "phase" | "status"> {
  const status = statuses.at(-1);
  const last = statuses.length === phases.length;
  const complete = last || (status !== undefined && status !== 0);
  const phase = phases[Math.min(complete ? statuses.length - 1 : statuses.length, phases.length - 1)]?.name ?? "";
  if (stopped !== undefined) return { outcome: stopped, phase, status: undefined };
  // A program that took the enclosure down with it (out of memory in the kernel) leaves no status.
  if (!complete || status === undefined) return { outcome: "killed", phase, status: undefined };
  const outcome: Outcome = outcomeOf(status, { last, stderr });
  return { outcome: outcome === "passed" && left ? "left-running" : outcome, phase, status };
}
