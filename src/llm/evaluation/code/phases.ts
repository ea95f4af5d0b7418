/**
 * The innermost script of every sandbox: works off the phases of a program one after another, each under its limits, and tells
 * the parent on descriptor 3 how each ended. What stands around it (namespaces, or nothing) is left to the enclosures.
 */
import { prlimitWords, ulimitLine, type Limits } from "./limits.ts";

/** One command of a program: compiling, running. */
export interface Phase {
  readonly name: string;
  /** The program's absolute path first; relative paths start at the scratch folder. */
  readonly command: readonly string[];
  /** Wall time of the whole phase. */
  readonly wallMs: number;
  /** Processor time of each process. */
  readonly cpuSeconds: number;
}

/** One word, safe for a POSIX shell. */
export function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Words joined to a command line of a POSIX shell. */
export function commandLine(words: readonly string[]): string {
  return words.map(quote).join(" ");
}

/** Gives up every capability, now and for whatever is started, and forbids gaining any by a set-uid file. */
export const DROP_CAPABILITIES: readonly string[] = ["setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"];

export interface PhaseScriptOptions {
  readonly limits: Limits;
  readonly environment: Readonly<Record<string, string>>;
  /** Words before the command, between the limits and the empty environment: what takes privileges away. */
  readonly before: readonly string[];
  /** Limits by the shell's own `ulimit`, with this limit of the user's processes (undefined: none), and not by `prlimit`. */
  readonly byUlimit?: { readonly processes: number | undefined };
}

/** Counts processes by the shell alone, once before and once after; what is just ending gets a moment. */
const COUNT_BEFORE = "set -- /proc/[0-9]*; before=$#";
const COUNT_AFTER = "set -- /proc/[0-9]*; if [ $# -gt $before ]; then sleep 0.2; set -- /proc/[0-9]*; [ $# -le $before ] || echo left >&3; fi";

/**
 * The script, to be run in the scratch folder. On descriptor 3: `ready`, then `status N` after each phase, and `left` where the last
 * one left processes behind (told where all processes that /proc shows are the program's). It ends after the first phase whose
 * status is not 0. The descriptor is closed for the program, which cannot speak in its name.
 */
export function phaseScript(phases: readonly Phase[], options: PhaseScriptOptions): string {
  const environment = ["env", "-i", ...Object.entries(options.environment).map(([name, value]) => `${name}=${value}`)];
  const lines = phases.map((phase) => {
    const inner = commandLine([...options.before, ...environment, ...phase.command]);
    const { cpuSeconds } = phase;
    const limited =
      options.byUlimit === undefined
        ? `exec ${commandLine(prlimitWords(options.limits, cpuSeconds))} -- ${inner}`
        : `${ulimitLine(options.limits, { cpuSeconds, ...options.byUlimit })}; exec ${inner}`;
    return `(exec 3>&-; ${limited}) </dev/null; s=$?; echo "status $s" >&3; [ "$s" -eq 0 ] || exit 0`;
  });
  const alone = options.byUlimit === undefined;
  // What went before may end at the first failure; a failing program is none.
  return ["set +e", ...(alone ? [COUNT_BEFORE] : []), "echo ready >&3", ...lines, ...(alone ? [COUNT_AFTER] : []), "exit 0"].join("\n");
}
