/**
 * What HumanEval-X wants in one language: the prompt that a model continues, what of its answer is kept, and the program that
 * judges it. One file per language, listed in `all.ts`; how programs are compiled and run is the toolchains' part.
 */
import { z } from "zod";

const text = z.string("expected a text");

/** Fields of a problem that programs are made of; `import` and `test_setup` are Go's alone. */
export const problemSchema = z.object({
  task_id: text,
  prompt: text,
  canonical_solution: text,
  test: text,
  declaration: text.default(""),
  import: text.default(""),
  test_setup: text.default(""),
});
export type Problem = z.infer<typeof problemSchema>;

export interface Dialect {
  /** Begins a comment that ends with its line. */
  readonly comment: "//" | "#";
  /** What a model continues, without the line that names the language. */
  readonly prompt: (problem: Problem) => string;
  /** Texts that end an answer. None of them is in a canonical solution. */
  readonly stop: readonly string[];
  /** What of an answer counts. A canonical solution is kept whole. */
  readonly cut: (answer: string, problem: Problem) => string;
  /** The same as the reference does it (CodeGeeX's `clean_answer`), after `withoutHardSpaces`. */
  readonly cutAsReference: (answer: string) => string;
  /** The whole program; where `proof` is printed, its tests ran to their end. */
  readonly assemble: (problem: Problem, solution: string, proof: string) => string;
}

/** `text` before the first (or the last) place of any of the words. */
export function before(text: string, words: readonly string[], which: "first" | "last" = "first"): string {
  let kept = text;
  for (const word of words) {
    const at = which === "first" ? kept.indexOf(word) : kept.lastIndexOf(word);
    if (at >= 0) kept = kept.slice(0, at);
  }
  return kept;
}

/** Up to the last closing brace; all where there is none. */
export function toLastBrace(text: string): string {
  const at = text.lastIndexOf("}");
  return at < 0 ? text : text.slice(0, at + 1);
}

/** As the reference cleans every answer first: without non-breaking spaces. */
export function withoutHardSpaces(text: string): string {
  return text.replaceAll("\u00a0", "");
}

/** The line that tells a model the language: `// language: C++`. */
export function languageLine({ comment }: Dialect, title: string): string {
  return `${comment} language: ${title}\n`;
}
