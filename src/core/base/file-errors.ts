/** Turns what Node's file system throws into errors that a person can act on. Opening and writing is left to others. */
import { FedtuneError, messageOf } from "./errors.ts";

const CAUSES: Readonly<Record<string, { readonly got: string; readonly remedy: string }>> = {
  ENOSPC: { got: "a full disk", remedy: "Free some space or name a folder on another disk" },
  EDQUOT: { got: "an exhausted disk quota", remedy: "Free some space or name a folder on another disk" },
  EACCES: { got: "permission denied", remedy: "Change the permissions or name another folder" },
  EPERM: { got: "an operation that is not permitted", remedy: "Change the permissions or name another folder" },
  EROFS: { got: "a read-only file system", remedy: "Name a folder on a disk that can be written" },
  ENOTDIR: { got: "a path that leads through a file", remedy: "Name a path all of whose parents are folders" },
  EISDIR: { got: "a folder", remedy: "Name a file" },
  ENOENT: { got: "no such file or folder", remedy: "Check the path" },
  EMFILE: { got: "too many open files", remedy: "Raise the limit of open files (`ulimit -n`)" },
  ENFILE: { got: "too many open files", remedy: "Raise the limit of open files (`ulimit -n`)" },
  EIO: { got: "an input/output error", remedy: "Check the disk" },
};

/** The code of a Node file system error ("ENOENT", …), or undefined for anything else. */
export function fileErrorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** A FedtuneError("resources") for a failed file operation; `expected` says what was tried ("a file to write"). */
export function fileError(error: unknown, path: string, expected: string): FedtuneError {
  if (error instanceof FedtuneError) return error;
  const code = fileErrorCode(error);
  const known = code === undefined ? undefined : CAUSES[code];
  return new FedtuneError("resources", {
    where: path,
    expected,
    got: known === undefined ? messageOf(error) : `${known.got} (${code})`,
    ...(known === undefined ? {} : { remedy: known.remedy }),
    details: { path, ...(code === undefined ? {} : { code }) },
    cause: error,
  });
}

/** Runs a file operation; whatever it throws comes out as `fileError`. */
export function withFileErrors<T>(path: string, expected: string, operation: () => T): T {
  try {
    return operation();
  } catch (error) {
    throw fileError(error, path, expected);
  }
}
