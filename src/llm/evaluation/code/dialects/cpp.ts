/** C++. The headers that every program begins with are the toolchain's; assert is among them, as problem 94 has it in its solution and not in its test. */
import { wholeFunctions } from "./braces.ts";
import { toLastBrace, type Dialect } from "./dialect.ts";

export const cpp: Dialect = {
  comment: "//",
  prompt: ({ prompt }) => prompt,
  stop: ["\nint main", "\n//", "\n/*", "\n#include", "\n```"],
  cut: (answer, { prompt }) => wholeFunctions(prompt, answer),
  cutAsReference: toLastBrace,
  assemble: ({ prompt, test }, solution, proof) => `${prompt}${solution}\n${test.replace(/\}\s*$/, () => `puts("\\n${proof}"); }\n`)}`,
};
