/** The processes of one running program: all that were ever seen, so that they can be killed for good. */
import { descendants, processesOf, startTime } from "./processes.ts";

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    return; // Gone already.
  }
}

/** Families that live now: they are killed when this process exits. (Where it is killed itself, a namespace's tie to its parent does that.) */
const living = new Set<Family>();
let watched = false;

/** Starts from the first process of a session; hold it by `using`: its end is the end of all. */
export class Family implements Disposable {
  readonly #root: number;
  readonly #folder: string | undefined;
  readonly #seen = new Map<number, string>();

  /** @param folder whose path only this program's processes carry in their environment; undefined where their first process takes all with it */
  constructor(root: number, folder: string | undefined) {
    this.#root = root;
    this.#folder = folder;
    if (!watched) process.on("exit", () => living.forEach((family) => family.kill()));
    watched = true;
    living.add(this);
  }

  /** Looks who is there now. */
  look(): number[] {
    const there = descendants(this.#root);
    this.#note(there);
    return there;
  }

  #note(pids: readonly number[]): void {
    for (const pid of pids) {
      const start = this.#seen.has(pid) ? undefined : startTime(pid);
      if (start !== undefined) this.#seen.set(pid, start);
    }
  }

  /** Kills the process group, all that were ever seen and all that carry the folder; returns how many lived beside the first. */
  kill(): number {
    // The group first, in one blow: a fork bomb outruns whoever lists its processes.
    kill(-this.#root);
    this.look();
    if (this.#folder !== undefined) this.#note(processesOf(this.#folder));
    const left = [...this.#seen].filter(([pid, start]) => startTime(pid) === start).map(([pid]) => pid);
    left.forEach(kill);
    return left.filter((pid) => pid !== this.#root).length;
  }

  [Symbol.dispose](): void {
    this.kill();
    living.delete(this);
  }
}
