/** Rust: tests of the language's own harness. */
import { wholeFunctions } from "./braces.ts";
import { toLastBrace, type Dialect, type Problem } from "./dialect.ts";

const promptOf = ({ prompt, declaration }: Problem): string => `${prompt}${declaration}`;

/** One more test, the last by name: the harness runs tests in alphabetical order, one at a time. */
function proofTest(proof: string): string {
  return `\n#[cfg(test)]\nmod zz_end {\n    #[test]\n    fn end() { use std::io::Write; std::io::stdout().write_all(b"\\n${proof}\\n").unwrap(); }\n}\n`;
}

export const rust: Dialect = {
  comment: "//",
  prompt: promptOf,
  stop: ["\nfn main", "\n#[cfg(test)]", "\nmod tests", "\n```"],
  cut: (answer, problem) => wholeFunctions(promptOf(problem), answer),
  cutAsReference: toLastBrace,
  assemble: (problem, solution, proof) => `fn main() {}\n${promptOf(problem)}${solution}\n${problem.test}\n${proofTest(proof)}`,
};
