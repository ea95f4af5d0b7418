/**
 * Runs a program that nobody has read: its files go to a scratch folder, its phases run inside an enclosure (`walls.ts` chooses
 * it) and under limits, and whatever it started is gone when the run ends. What the program means is left to the languages.
 */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { interrupted } from "../../../core/base/errors.ts";
import type { Enclosure } from "./enclosure.ts";
import { follow } from "./follow.ts";
import { DEFAULT_LIMITS, type Limits } from "./limits.ts";
import type { RunResult } from "./outcome.ts";
import type { Phase } from "./phases.ts";
import { folderBytes } from "./processes.ts";
import { makeScratch } from "./scratch.ts";

/** A program as it is handed over. */
export interface Program {
  /** Contents by path relative to the scratch folder. */
  readonly files: Readonly<Record<string, string>>;
  /** Run one after another until one fails. */
  readonly phases: readonly Phase[];
  /** Absolute paths beside the system's folders that it may read. */
  readonly visible?: readonly string[];
  /** All that it finds in its environment, beside HOME, TMPDIR, LANG and a PATH of the system's folders. */
  readonly environment?: Readonly<Record<string, string>>;
}

export interface RunOptions {
  readonly enclosure: Enclosure;
  readonly limits?: Partial<Limits>;
  readonly signal?: AbortSignal;
}

function writeProgram(folder: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(folder);
  for (const [path, content] of Object.entries(files)) {
    const target = join(folder, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, content);
  }
}

/**
 * Runs the program and returns what became of it; a program's own fault is never an error.
 * @throws FedtuneError("interrupted") when the signal aborts; an Error where the enclosure itself does not start
 */
export async function runApart(program: Program, options: RunOptions): Promise<RunResult> {
  if (options.signal?.aborted === true) throw interrupted("running generated code");
  const { enclosure } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  using scratchOfHost = makeScratch();
  const { folder } = scratchOfHost;
  const input = join(folder, "program");
  const mountPoint = join(folder, "root");
  writeProgram(input, program.files);
  mkdirSync(mountPoint);
  const scratch = enclosure.scratch(input);
  const environment = { HOME: scratch, TMPDIR: join(scratch, ".tmp"), LANG: "C.UTF-8", PATH: "/usr/bin:/bin", ...program.environment };
  const [file = "", ...args] = enclosure.command({ phases: program.phases, limits, environment, visible: program.visible ?? [], input, mountPoint });
  const child = spawn(file, args, { cwd: "/", env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" }, detached: true, stdio: ["ignore", "pipe", "pipe", "pipe"] });
  const marker = enclosure.walls.includes("processes") ? undefined : folder;
  const diskBytes = enclosure.walls.includes("disk") ? undefined : () => folderBytes(input);
  return await follow(child, { folder: marker, phases: program.phases, limits, signal: options.signal, diskBytes });
}
