/** Python. */
import { before, withoutHardSpaces, type Dialect } from "./dialect.ts";

const STOP = ["\nclass", "\ndef", "\n#", "\nif", "\nprint", "\nassert"];

/** The same words in the order in which the reference looks for the last place of each: where it cuts depends on that. */
const REFERENCE_STOP = ["\ndef", "\nclass", "\nif", "\n#", "\nprint", "\nassert"];
const INDENT = " ".repeat(4);

/** An answer to HumanEval as the reference cuts it: at the first place of any of the words, its first line indented by four spaces. */
export function cutAsHumanEvalReference(answer: string): string {
  return `${INDENT}${before(withoutHardSpaces(answer), STOP).replace(/^ +/, "")}`;
}

/** What CodeGeeX's harness imports for every program. */
const IMPORTS = [
  ...["math", "re", "sys", "copy", "datetime", "itertools", "collections", "heapq", "statistics", "functools", "hashlib", "string"].map((name) => `import ${name}`),
  "from typing import *",
  "from collections import *",
];

/** The body of a function: up to the first line that is not indented. */
export function bodyOf(answer: string): string {
  const end = /\n[^\s]/.exec(answer)?.index;
  return end === undefined ? answer : answer.slice(0, end);
}

/** Ends a program: a test that called `exit` does not come here. */
export function proofLine(proof: string): string {
  return `\n__import__("os").write(1, b"\\n${proof}\\n")\n`;
}

export const python: Dialect = {
  comment: "#",
  prompt: ({ prompt }) => prompt,
  stop: STOP,
  cut: bodyOf,
  cutAsReference: (answer) => before(answer, REFERENCE_STOP, "last"),
  assemble: ({ prompt, test }, solution, proof) => `${IMPORTS.join("\n")}\n${prompt}${solution}\n${test}\n${proofLine(proof)}`,
};
