/** What an enclosure is: a way to start a program apart from the rest of the machine. One file per enclosure, listed in `walls.ts`. */
import type { Limits } from "./limits.ts";
import type { Phase } from "./phases.ts";

/** What keeps a program from the rest of the machine. */
export const WALLS = {
  files: "it sees only its folder and the toolchain, read-only",
  network: "it has no network, not even the machine's own",
  processes: "it sees no other process, and none of its own outlives it",
  privileges: "it has no privileges and cannot gain any",
  disk: "its files are limited in total by the file system itself",
} as const;

export type Wall = keyof typeof WALLS;

/** Where a program is started and what it may see. */
export interface Enclosed {
  readonly phases: readonly Phase[];
  readonly limits: Limits;
  readonly environment: Readonly<Record<string, string>>;
  /** Absolute paths of the toolchain beside the system's own folders: seen read-only under the same path. */
  readonly visible: readonly string[];
  /** Folder of the host with the program's files, and an empty one that may serve as a mount point. */
  readonly input: string;
  readonly mountPoint: string;
}

export interface Enclosure {
  readonly name: string;
  /** Walls that it claims; `walls.ts` tries whether they stand. */
  readonly walls: readonly Wall[];
  /** The folder that the program starts in, as it sees it. */
  readonly scratch: (input: string) => string;
  /** The command that starts the program; its descriptor 3 is told of the phases (`phases.ts`). */
  readonly command: (enclosed: Enclosed) => readonly string[];
}

/** Folders and files of the system that toolchains need, where they exist. */
export const SYSTEM_FOLDERS: readonly string[] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
export const SYSTEM_FILES: readonly string[] = ["/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime"];
export const DEVICES: readonly string[] = ["null", "zero", "full", "random", "urandom"];

/** The scratch folder as a program sees it from inside a mount namespace: a name that hides no toolchain. */
export const SCRATCH = "/fedtune-program";
