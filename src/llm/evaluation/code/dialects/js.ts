/** JavaScript. */
import { wholeFunctions } from "./braces.ts";
import { toLastBrace, type Dialect } from "./dialect.ts";

/** Node's console.assert only prints; a test must fail. */
const ASSERT = `console.assert = (ok, ...words) => { if (!ok) throw new Error("Assertion failed " + words.join(" ")); };`;

export const js: Dialect = {
  comment: "//",
  prompt: ({ prompt }) => prompt,
  stop: ["\n//", "\n/*", "\nconsole.", "\nmodule.exports", "\n```"],
  cut: (answer, { prompt }) => wholeFunctions(prompt, answer),
  cutAsReference: toLastBrace,
  assemble: ({ prompt, test }, solution, proof) => `${prompt}${solution}\n;${ASSERT}\n${test}\n;require("node:fs").writeSync(1, "\\n${proof}\\n");\n`,
};
