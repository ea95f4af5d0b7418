/** How much a program may take: the limits of one run, and the words of `prlimit` and `ulimit` that say them. */

/** What one run may take. Sizes in bytes; time limits belong to the phases. */
export interface Limits {
  /** Memory of all processes together, and private memory of each. */
  readonly memoryBytes: number;
  /** Processes and threads at once. */
  readonly processes: number;
  /** Largest file. */
  readonly fileBytes: number;
  /** All files of the scratch folder together. */
  readonly diskBytes: number;
  /** What it may print on both streams together. */
  readonly outputBytes: number;
}

/** Room for a compiler and its virtual machine, and for no mischief. */
export const DEFAULT_LIMITS: Limits = { memoryBytes: 2 ** 31, processes: 128, fileBytes: 2 ** 26, diskBytes: 2 ** 27, outputBytes: 2 ** 23 };

/** Open files of one process: enough for every toolchain. */
const OPEN_FILES = 256;

/** `prlimit` and its options up to the command; `cpuSeconds` is asked by a signal, one second later by force. */
export function prlimitWords(limits: Limits, cpuSeconds: number): string[] {
  return [
    "prlimit",
    `--cpu=${cpuSeconds}:${cpuSeconds + 1}`,
    `--data=${limits.memoryBytes}`,
    `--fsize=${limits.fileBytes}`,
    `--nproc=${limits.processes}`,
    `--nofile=${OPEN_FILES}`,
    "--core=0",
    "--memlock=0",
    "--msgqueue=0",
  ];
}

/**
 * The same for a shell without `prlimit`: a line of `ulimit` commands, each of which may be refused. Blocks are of 512 bytes.
 * @param processes the limit, which counts everything that the user runs (dash spells it `-p`); undefined: none
 */
export function ulimitLine(limits: Limits, options: { readonly cpuSeconds: number; readonly processes: number | undefined }): string {
  const { processes, cpuSeconds } = options;
  const commands = [
    `ulimit -S -t ${cpuSeconds}; ulimit -H -t ${cpuSeconds + 1}`,
    `ulimit -f ${Math.ceil(limits.fileBytes / 512)}`,
    `ulimit -d ${Math.ceil(limits.memoryBytes / 1024)}`,
    `ulimit -n ${OPEN_FILES}`,
    "ulimit -c 0",
    ...(processes === undefined ? [] : [`ulimit -u ${processes} || ulimit -p ${processes}`]),
  ];
  return commands.map((command) => `{ ${command}; } 2>/dev/null`).join("; ");
}
