/** What benchmarks of code share when they judge: answers of one question become verdicts, scores and reasons. */
import { availableParallelism } from "node:os";
import type { Json, Judgement, WrittenAnswer } from "../benchmark.ts";
import type { Enclosure } from "./enclosure.ts";
import { judge, type Verdict } from "./judge.ts";
import { passAtK, passName } from "./pass-at-k.ts";
import type { CodeSettings } from "./settings.ts";
import type { Installed } from "./toolchains/toolchain.ts";
import { allowed, enclosingHere, wallNotes } from "./walls.ts";

/** Programs that run at the same time. */
export const AT_ONCE = Math.max(1, Math.min(8, availableParallelism()));

/** An enclosure that may be used, with what its results must say. */
export interface Allowed {
  readonly enclosure: Enclosure;
  readonly notes: readonly string[];
}

/** The enclosure of this machine. Throws FedtuneError("resources") where walls are missing and the settings do not allow that. */
export async function openEnclosure({ unsafe }: Pick<CodeSettings, "unsafe">): Promise<Allowed> {
  const enclosing = await enclosingHere();
  return { enclosure: allowed(enclosing, { unsafe }), notes: wallNotes(enclosing) };
}

export interface JudgeAnswers {
  readonly toolchain: Installed;
  readonly enclosure: Enclosure;
  readonly settings: Pick<CodeSettings, "k" | "timeout_seconds">;
  /** What of an answer counts. */
  readonly cut: (answer: string) => string;
  /** The whole program of a solution. */
  readonly assemble: (solution: string, proof: string) => string;
}

function write({ outcome, said }: Verdict): Json {
  return said === "" ? { outcome } : { outcome, said };
}

/** Runs every answer of one question; equal solutions run once. */
export async function judgeAnswers(answers: readonly WrittenAnswer[], parts: JudgeAnswers, signal: AbortSignal): Promise<Judgement> {
  const { toolchain, enclosure, settings, cut, assemble } = parts;
  const verdicts = new Map<string, Verdict>();
  const inOrder: Verdict[] = [];
  for (const { text } of answers) {
    const solution = cut(text);
    const verdict = verdicts.get(solution) ?? (await judge(toolchain, { solution, assemble: (proof) => assemble(solution, proof) }, { enclosure, signal, runSeconds: settings.timeout_seconds }));
    verdicts.set(solution, verdict);
    inOrder.push(verdict);
  }
  const parsed = inOrder.map(write);
  const skipped = inOrder.find(({ outcome }) => outcome === "skipped");
  if (skipped !== undefined) return { parsed, scores: {}, skipped: skipped.said };
  const passed = inOrder.filter(({ outcome }) => outcome === "passed").length;
  return { parsed, scores: Object.fromEntries(settings.k.map((k) => [passName(k), passAtK(answers.length, passed, k)])) };
}
