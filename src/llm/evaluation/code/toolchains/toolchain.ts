/** What a toolchain is: found on this machine or not, and if so, how a source text becomes a program. One file per toolchain, listed in `all.ts`. */
import { execFile } from "node:child_process";
import { accessSync, constants, realpathSync } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { FedtuneError, messageOf } from "../../../../core/base/errors.ts";
import type { Program } from "../sandbox.ts";

/** A toolchain that is installed. */
export interface Installed {
  /** As the tool says it. */
  readonly version: string;
  /** Libraries of ours that stand in for ones that are not installed, and what they cannot do. */
  readonly notes: readonly string[];
  /** Makes the program of one source text; compiling happens when it runs, inside the enclosure. */
  readonly program: (source: string) => Promise<Program>;
  /** Why a text cannot be judged here, such as a library that is not installed; undefined: it can. */
  readonly lacks?: (source: string) => string | undefined;
}

/** A toolchain that is not, with the reason. */
export interface NotInstalled {
  readonly missing: string;
}

export interface FindOptions {
  readonly signal?: AbortSignal;
  /** Whether its own package manager may download libraries that the benchmarks name; default: nothing touches the network. */
  readonly fetch?: boolean;
}

export interface Toolchain {
  /** The language for people: `C++`. */
  readonly title: string;
  /** Looks for it and makes what it needs once (warm caches); may take a minute on its first use. */
  readonly find: (options: FindOptions) => Promise<Installed | NotInstalled>;
}

/** Time that compiling one file may take on a slow and busy machine, and processor time. */
export const COMPILE = { name: "compile", wallMs: 180_000, cpuSeconds: 60 } as const;
/** Time for running it. Processor time decides; wall time is for those who sleep. */
export const RUN = { name: "run", wallMs: 60_000, cpuSeconds: 15 } as const;

/** Absolute path of a program on the PATH, or undefined. Links are kept: some tools look at the name they are called by. */
export function onPath(name: string): string | undefined {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      continue;
    }
  }
  return undefined;
}

/** Asks a trusted tool of this machine and returns what it prints. */
export async function ask(path: string, args: readonly string[], options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string; readonly signal?: AbortSignal } = {}): Promise<string> {
  const { stdout } = await promisify(execFile)(path, args, { maxBuffer: 2 ** 26, encoding: "utf8", ...options });
  return stdout.trim();
}

/** Looks for a toolchain by `look`, whose failure means that it is not usable here. */
export async function finding(command: string, look: (path: string) => Promise<Installed>): Promise<Installed | NotInstalled> {
  const path = onPath(command);
  if (path === undefined) return { missing: `\`${command}\` is not on the PATH` };
  try {
    return await look(path);
  } catch (error) {
    if (error instanceof FedtuneError || (error instanceof Error && error.name === "AbortError")) throw error;
    return { missing: `\`${command}\` is on the PATH but does not work: ${messageOf(error).split("\n").slice(0, 3).join(" ")}` };
  }
}

/** The file behind a path, through all links. */
export const realPath = (path: string): string => realpathSync(path);
