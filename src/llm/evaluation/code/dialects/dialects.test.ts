/** What of an answer counts, in each language; canonical solutions are kept whole. */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { LANGUAGE_NAMES, type LanguageName } from "../toolchains/all.ts";
import { DIALECTS } from "./all.ts";
import { closings } from "./braces.ts";
import { languageLine, problemSchema, type Dialect, type Problem } from "./dialect.ts";
import { bodyOf, cutAsHumanEvalReference } from "./python.ts";

const FOLDER = "../shared/data/humaneval-x";

function problem(fields: Partial<Problem>): Problem {
  return problemSchema.parse({ task_id: "T/0", prompt: "", canonical_solution: "", test: "", ...fields });
}

function problemsOf(language: LanguageName): Problem[] {
  const lines = readFileSync(`${FOLDER}/humaneval_${language}.jsonl`, "utf8").trim().split("\n");
  // In CPP/94 the first lines of the test stand at the end of the solution.
  return lines.map((line) => problemSchema.parse(JSON.parse(line))).map((one) => (one.task_id === "CPP/94" ? { ...one, canonical_solution: one.canonical_solution.replace(/#[\s\S]*$/, "") } : one));
}

describe.skipIf(!existsSync(FOLDER))(`of the canonical solutions (skipped where ${FOLDER} is absent)`, () => {
  test.each(LANGUAGE_NAMES)("none in %s is shortened by the cut or ended by a stop string", (language) => {
    const dialect: Dialect = DIALECTS[language];
    const problems = problemsOf(language);
    expect(problems).toHaveLength(164);
    for (const one of problems) {
      const { task_id: id, canonical_solution: solution } = one;
      expect(dialect.cut(solution, one).trimEnd(), id).toBe(solution.trimEnd());
      expect(dialect.stop.filter((stop) => solution.includes(stop)), id).toEqual([]);
    }
  });

  test.each(LANGUAGE_NAMES)("each in %s leaves out what a model writes on after it", (language) => {
    const dialect: Dialect = DIALECTS[language];
    const more = { python: "\nprint(f(3))\n", js: "\nfor (const x of f(3)) {", java: "\npublic class Other {\n  void f() {", go: "\nfunc other() {\n\tif", cpp: "\nint other(int x) {\n  if", rust: "\npub fn other() {\n  let" }[language];
    for (const one of problemsOf(language)) expect(dialect.cut(one.canonical_solution + more, one).trimEnd(), one.task_id).toBe(one.canonical_solution.trimEnd());
  });
});

test("a Python body ends where a line is not indented; blank lines belong to it", () => {
  expect(bodyOf("    a = 1\n\n    return a\n\nx = f(2)\n")).toBe("    a = 1\n\n    return a\n");
  expect(bodyOf("    return 1")).toBe("    return 1");
});

test("braces in texts, characters and comments close nothing", () => {
  const source = `f() { s = "}"; c = '}'; t = \`}\`; // }\n /* } */ q = '\\''; }`;
  expect(closings(source)).toEqual([{ end: source.length, depth: 0 }]);
});

test("a lifetime of Rust opens no text", () => {
  const source = "fn f<'a>(x: &'a str) -> &'a str { x }";
  expect(closings(source)).toEqual([{ end: source.length, depth: 0 }]);
  expect(closings("s = 'Yes' + ','; }")).toEqual([{ end: 18, depth: -1 }]);
});

test("a Java class is closed where only its method is whole, and ends before another class", () => {
  const one = problem({ prompt: "class Solution {\n    int f() {\n" });
  expect(DIALECTS.java.cut("        return 1;\n    }\n\n    int g() {\n  if", one)).toBe("        return 1;\n    }\n}");
  expect(DIALECTS.java.cut("        return 1;\n    }\n}\npublic class Main { }\n", one)).toBe("        return 1;\n    }\n}");
});

test("helper functions behind the answer are kept, half ones are not", () => {
  const one = problem({ prompt: "func F() int {\n" });
  expect(DIALECTS.go.cut("\treturn g()\n}\n\nfunc g() int {\n\treturn 1\n}\n\nfunc h() {\n\tif", one)).toBe("\treturn g()\n}\n\nfunc g() int {\n\treturn 1\n}");
});

describe("the reference's cuts", () => {
  test("end C++, JavaScript and Go at the last brace, wherever it stands", () => {
    for (const language of ["cpp", "js"] as const) expect(DIALECTS[language].cutAsReference("a; }\nint g() { if (x) { y } z")).toBe("a; }\nint g() { if (x) { y }");
    expect(DIALECTS.go.cutAsReference("return 1\n}\n// so { }\n}")).toBe("return 1\n}");
    expect(DIALECTS.go.cutAsReference("return 1\n}\nfunc main() { }")).toBe("return 1\n}");
  });

  test("end Java before a main method and close its class", () => {
    expect(DIALECTS.java.cutAsReference("return 1; }\n public static void main(String[] a) { }")).toBe("return 1; }\n }");
    expect(DIALECTS.java.cutAsReference("return 1; } rest")).toBe("return 1; }\n}");
  });

  test("of HumanEval end at the first place of any word, without non-breaking spaces, the first line indented by four", () => {
    expect(cutAsHumanEvalReference("  return\u00a0 1\n    x\nprint(1)\ndef g():")).toBe("    return 1\n    x");
    expect(["return 1", "\n    return 1", "      return 1"].map(cutAsHumanEvalReference)).toEqual(["    return 1", "    \n    return 1", "    return 1"]);
  });

  test("end Python at the last place of each word", () => {
    // The last def, then the last class before it.
    expect(DIALECTS.python.cutAsReference("    return 1\nclass A:\n    x\ndef g():\n    y\nclass B:\n    z")).toBe("    return 1");
    expect(DIALECTS.python.cutAsReference("    return 1\n\ndef g():\n    return 2\ndef h")).toBe("    return 1\n\ndef g():\n    return 2");
  });
});

test("a Go program imports what its code names, and nothing that only a comment or a text does", () => {
  const one = problem({ prompt: 'import (\n    "math"\n)\n\nfunc F() int {\n', test: "func TestF(t *testing.T) {\n  assert := assert.New(t)\n  assert.Equal(1, F())\n}\n", test_setup: 'import (\n "testing"\n "github.com/stretchr/testify/assert"\n)', import: 'import (\n    "math"\n)' });
  const program = DIALECTS.go.assemble(one, '    // math.Sqrt(1)\n    s := "strings.ToUpper"\n    return sort.SearchInts([]int{1}, len(s))\n}\n', "proof");
  const imports = program.slice(program.indexOf("import"), program.indexOf(")"));
  expect(imports.match(/"[^"]+"/g)).toEqual(['"github.com/stretchr/testify/assert"', '"sort"', '"testing"', '"os"']);
  expect(program).not.toMatch(/import \(\s*"math"/);
});

test("the line that names the language is a comment of it", () => {
  expect(languageLine(DIALECTS.cpp, "C++")).toBe("// language: C++\n");
  expect(languageLine(DIALECTS.python, "Python")).toBe("# language: Python\n");
});
