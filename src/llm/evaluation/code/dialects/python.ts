/** Python. */
import { before, type Dialect } from "./dialect.ts";

const STOP = ["\nclass", "\ndef", "\n#", "\nif", "\nprint", "\nassert"];

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
  cutAsReference: (answer) => before(answer, STOP, "last"),
  assemble: ({ prompt, test }, solution, proof) => `${IMPORTS.join("\n")}\n${prompt}${solution}\n${test}\n${proofLine(proof)}`,
};
