/** Judges solutions of one language: makes the program, runs it apart, and says whether its tests passed. */
import { randomBytes } from "node:crypto";
import type { Outcome } from "./outcome.ts";
import { runApart, type Program, type RunOptions } from "./sandbox.ts";
import type { Installed } from "./toolchains/toolchain.ts";

/** What became of a solution. */
export interface Verdict {
  /** `skipped`: it cannot be judged here, and counts neither way. */
  readonly outcome: Outcome | "skipped";
  /** The end of what compiler or program said, at most 600 characters; why where it was skipped. */
  readonly said: string;
  readonly wallMs: number;
}

/** Makes the whole program of a solution; `proof` is to be printed on a line of its own when the tests have ended. */
type Assemble = (proof: string) => string;

export interface JudgeOptions extends RunOptions {
  /** Processor time of the phase that runs the tests; the toolchain's where absent. It may wait four times as long. */
  readonly runSeconds?: number;
}

/** The program with another limit for its last phase. */
function within(program: Program, seconds: number | undefined): Program {
  const last = program.phases.length - 1;
  if (seconds === undefined) return program;
  return { ...program, phases: program.phases.map((phase, i) => (i === last ? { ...phase, cpuSeconds: seconds, wallMs: 4000 * seconds } : phase)) };
}

const SAID = 600;

/**
 * Runs a program and looks whether its tests ran to their end: one that leaves early with exit 0 has failed.
 * @param solution the model's part of the program, looked through for libraries that are not here
 */
export async function judge(toolchain: Installed, { solution, assemble }: { readonly solution: string; readonly assemble: Assemble }, options: JudgeOptions): Promise<Verdict> {
  const lacks = toolchain.lacks?.(solution);
  if (lacks !== undefined) return { outcome: "skipped", said: lacks, wallMs: 0 };
  const proof = `tests ended ${randomBytes(8).toString("hex")}`;
  const result = await runApart(within(await toolchain.program(assemble(proof)), options.runSeconds), options);
  const proved = result.stdout.split("\n").includes(proof);
  const outcome = result.outcome === "passed" && !proved ? "failed" : result.outcome;
  const said = result.outcome === "passed" && !proved ? "it ended before its tests did" : (result.stderr.trim() || result.stdout.trim()).slice(-SAID);
  return { outcome, said: outcome === "passed" ? "" : said, wallMs: result.wallMs };
}
