/** Go: the test is a function of the testing package; a main of ours runs it. */
import { wholeFunctions } from "./braces.ts";
import { before, toLastBrace, type Dialect, type Problem } from "./dialect.ts";

/** Packages that a solution may use without importing them, beside those that the problem imports. */
const USUAL = ["math", "strings", "fmt", "strconv", "time", "bytes", "regexp", "sort", "math/rand", "crypto/md5", "errors", "unicode", "math/bits", "container/heap", "container/list", "slices", "maps", "cmp", "bufio", "os"];

const IMPORT_BLOCK = /^import\s*\([^)]*\)\s*/m;

function pathsIn(text: string): string[] {
  return [...text.matchAll(/"([^"\s]+)"/g)].map((match) => match[1] ?? "");
}

/** Go code without texts, characters and comments: what names are looked for in. */
function bare(code: string): string {
  return code.replace(/\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\\n])*"|`[^`]*`|'(?:\\.|[^'\\\n])+'/g, " ");
}

/** Go refuses imports that are not used, so only those that some line names are written. */
function importsFor(body: string, { test_setup: setup, import: own }: Problem): string[] {
  const code = bare(body);
  const paths = new Set([...pathsIn(setup), ...pathsIn(own), ...USUAL]);
  return [...paths].filter((path) => new RegExp(`(?<![.\\w])${path.slice(path.lastIndexOf("/") + 1)}\\.`).test(code));
}

function assemble(problem: Problem, solution: string, proof: string): string {
  const body = `${problem.prompt.replace(IMPORT_BLOCK, "")}${solution.replace(IMPORT_BLOCK, "")}\n${problem.test}`;
  const tests = [...problem.test.matchAll(/^func (Test\w*)\(/gm)].map((match) => match[1] ?? "");
  // The proof is one more test, the last: the package ends the process itself. A test that calls os.Exit does not come there.
  const main = [
    "func main() {",
    "  tests := []testing.InternalTest{",
    ...tests.map((name) => `    {Name: "${name}", F: ${name}},`),
    `    {Name: "end", F: func(*testing.T) { systemOfHarness.Stdout.WriteString("\\n${proof}\\n") }},`,
    "  }",
    "  testing.Main(func(_, _ string) (bool, error) { return true, nil }, tests, nil, nil)",
    "}",
  ].join("\n");
  const imports = [...importsFor(body, problem).filter((path) => path !== "testing").map((path) => `"${path}"`), '"testing"', 'systemOfHarness "os"'];
  return `package main\n\nimport (\n${imports.map((line) => `\t${line}\n`).join("")})\n\n${body}\n\n${main}\n`;
}

export const go: Dialect = {
  comment: "//",
  prompt: ({ prompt }) => prompt,
  stop: ["\n//", "\nfunc main(", "\npackage ", "\n```"],
  cut: (answer, { prompt }) => wholeFunctions(prompt, answer),
  cutAsReference: (answer) => toLastBrace(before(answer, ["\n//", "\nfunc main("], "last")),
  assemble,
};
