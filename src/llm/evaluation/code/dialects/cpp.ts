/** C++. */
import { wholeFunctions } from "./braces.ts";
import { toLastBrace, type Dialect } from "./dialect.ts";

/** What CodeGeeX's harness includes for every program; and assert, whose header stands in one problem (94) in the solution and not in the test. */
const INCLUDES = ["assert.h", "stdlib.h", "algorithm", "math.h", "stdio.h", "vector", "string", "climits", "cstring", "iostream"].map((name) => `#include <${name}>\n`).join("");

export const cpp: Dialect = {
  comment: "//",
  prompt: ({ prompt }) => prompt,
  stop: ["\nint main", "\n//", "\n/*", "\n#include", "\n```"],
  cut: (answer, { prompt }) => wholeFunctions(prompt, answer),
  cutAsReference: toLastBrace,
  assemble: ({ prompt, test }, solution, proof) => `${INCLUDES}${prompt}${solution}\n${test.replace(/\}\s*$/, () => `puts("\\n${proof}"); }\n`)}`,
};
