/** What became of a program that ran apart. */

/** How a run ended. Only `passed` counts as solved. */
export const OUTCOMES = ["passed", "failed", "compile-error", "timed-out", "memory", "processes", "disk", "output", "left-running", "killed"] as const;

/**
 * passed: every phase ended with exit 0 · failed: the last phase ended otherwise (an assertion, an exception) · compile-error: an
 * earlier phase did · timed-out: wall or CPU time · memory, processes, disk, output: over that limit · left-running: it
 * ended well but left processes behind · killed: ended by a signal that was not ours.
 */
export type Outcome = (typeof OUTCOMES)[number];

export interface RunResult {
  readonly outcome: Outcome;
  /** The phase in which it ended. */
  readonly phase: string;
  /** Exit status as a shell gives it (128 + signal); undefined where it was stopped from outside. */
  readonly status: number | undefined;
  /** The beginning and the end of what it printed, at most 64 KiB a stream. */
  readonly stdout: string;
  readonly stderr: string;
  readonly wallMs: number;
}

const NO_MEMORY = /MemoryError|std::bad_alloc|OutOfMemoryError|out of memory|cannot allocate memory|memory allocation of \d+ bytes failed|failed to allocate memory|buffer allocation failed|could not reserve enough space/i;
const NO_DISK = /no space left on device|disk quota exceeded|file too large|ENOSPC|EFBIG/i;

/** Reads the outcome of a phase that ended by itself off its exit status and, for the two limits that a runtime reports in words, its errors. */
export function outcomeOf(status: number, ended: { readonly last: boolean; readonly stderr: string }): Outcome {
  if (status === 0) return "passed";
  if (status === 152) return "timed-out";
  if (status === 153) return "disk";
  if (NO_MEMORY.test(ended.stderr)) return "memory";
  if (NO_DISK.test(ended.stderr)) return "disk";
  if (!ended.last) return "compile-error";
  return status === 137 ? "killed" : "failed";
}
