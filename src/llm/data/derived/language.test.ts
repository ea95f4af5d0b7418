import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { sha256 } from "../../../core/base/hash.ts";
import { language } from "./language.ts";

function tell(instruction: string, input = "", output = ""): string | undefined {
  return language.derive({ instruction, input, output, text: "" });
}

describe("the language of code", () => {
  it.each([
    ["Python", "Write a Python function that adds two numbers.", "def add(a, b):\n    return a + b"],
    ["JavaScript", "Create a JavaScript function.", "function f() { return 1; }"],
    ["Java", "Write a Java method.", "public int f() { return 1; }"],
    ["C", "Write a program in C that prints a line.", '#include <stdio.h>\nint main() { printf("a"); }'],
    ["C++", "Write a C++ class.", "class A {\npublic:\n  int x;\n};"],
    ["C#", "Write a C# method.", "public static int F() { return 1; }"],
    ["Go", "Write a Golang function.", "func add(a int, b int) int {\n  return a + b\n}"],
    ["R", "Compute the mean in R.", "x <- c(1, 2)\nmean(x)"],
  ])("is the one that the instruction names: %s", (name, instruction, output) => {
    expect(tell(instruction, "", output)).toBe(name);
  });

  it("is what a translation ends in, not what it begins with", () => {
    expect(tell("Translate the following Python code to Java.", "def f():\n  return 1", "public static int f() { return 1; }")).toBe("Java");
    expect(tell("Convert this JavaScript code into C++.", "", "int f() { return 1; }")).toBe("C++");
  });

  it.each([
    ["Python", "def f(x):\n    return x + 1"],
    ["JavaScript", "const f = (x) => {\n  console.log(x);\n};"],
    ["SQL", "SELECT name FROM users WHERE age > 18;"],
    ["Shell", "#!/bin/sh\necho hello"],
    ["PHP", "<?php\necho 1;\n?>"],
    ["Java", 'System.out.println("a");'],
    ["C++", "#include <iostream>\nint main() { std::cout << 1; }"],
    ["C#", 'Console.WriteLine("a");'],
    ["HTML", "<table>\n<tr><td>1</td></tr>\n</table>"],
    ["CSS", ".a {\n  color: red;\n}"],
    ["Ruby", "[1, 2].each do |x|\n  puts x\nend"],
    ["Rust", 'fn main() {\n    println!("a");\n}'],
  ])("is told by the look of the answer where nothing names it: %s", (name, output) => {
    expect(tell("Do what is asked.", "", output)).toBe(name);
  });

  it("is that of the input where the answer is no code", () => {
    expect(tell("What does this print?", "for i in range(3):\n    print(i)", "0, 1 and 2")).toBe("Python");
  });

  it("of what makes HTML or SQL is the language that makes it", () => {
    expect(tell("Write a function that makes an HTML table.", "", "def table(rows):\n    return '<table>' + ''.join(rows)")).toBe("Python");
  });

  it("stays open where nothing tells", () => {
    expect(tell("Name three fruits.", "", "Apples, pears and plums.")).toBeUndefined();
    expect(tell("Explain recursion.", "", "A function that calls itself.")).toBeUndefined();
  });

  it("is told of texts that are made to hold rules up", () => {
    for (const piece of [" ", "\n", " a", "a: ", "def f(", "[[", "class A{", "SELECT ", "<a ", "x = "]) {
      const text = `${piece.repeat(30_000)}{`;
      expect(["string", "undefined"]).toContain(typeof tell(text, text, text));
    }
  });

  it("does not take words of English for names of languages", () => {
    for (const instruction of ["Go to the shop.", "Give it a C grade in class.", "React to the news swiftly.", "She is a Java-loving tourist? No: an R rated film."]) {
      expect([instruction, ["C", "Go", "R", "Swift"].includes(tell(instruction) ?? "")]).toEqual([instruction, false]);
    }
  });
});

const labelsSchema = z.object({ sha256: z.string(), first: z.record(z.string(), z.string().nullable()), second: z.record(z.string(), z.string().nullable()) });

const rowSchema = z.object({ instruction: z.string(), input: z.string(), output: z.string() });

interface Counts {
  right: number;
  told: number;
  labelled: number;
}

describe("on rows of CodeAlpaca that were read and labelled by hand (needs ../shared)", () => {
  const path = "../shared/data/codealpaca/codealpaca-6.5k.jsonl";

  /** How often the rule is right, over all and by language; "none" stands for no language. */
  function measure(labels: Readonly<Record<string, string | null>>): { readonly right: number; readonly of: number; readonly byLanguage: ReadonlyMap<string, Counts> } {
    const rows = readFileSync(path, "utf8").split("\n");
    const byLanguage = new Map<string, Counts>();
    const count = (name: string): Counts => {
      const counts = byLanguage.get(name) ?? { right: 0, told: 0, labelled: 0 };
      byLanguage.set(name, counts);
      return counts;
    };
    let right = 0;
    for (const [index, label] of Object.entries(labels)) {
      const row = rowSchema.parse(JSON.parse(rows[Number(index)] ?? ""));
      const told = language.derive({ ...row, text: "" }) ?? "none";
      const meant = label ?? "none";
      count(told).told++;
      count(meant).labelled++;
      if (told !== meant) continue;
      count(meant).right++;
      right++;
    }
    return { right, of: Object.keys(labels).length, byLanguage };
  }

  const labels = labelsSchema.parse(JSON.parse(readFileSync(new URL("language-labels.json", import.meta.url), "utf8")));

  it.skipIf(!existsSync(path))("the rule is right on 197 of 200, and on 97 of 100 that it was not looked at with", () => {
    expect(sha256(readFileSync(path))).toBe(labels.sha256);
    const [first, second] = [measure(labels.first), measure(labels.second)];
    expect([first.right, first.of]).toEqual([197, 200]);
    expect([second.right, second.of]).toEqual([97, 100]);
  });

  it.skipIf(!existsSync(path))("every language with at least five labels has a precision and recall of at least 0.95 on all 300", () => {
    const { byLanguage } = measure({ ...labels.first, ...labels.second });
    const frequent = [...byLanguage].filter(([name, { labelled }]) => labelled >= 5 && name !== "none");
    expect(frequent.map(([name]) => name).sort()).toEqual(["C", "C#", "C++", "Java", "JavaScript", "PHP", "Python", "SQL", "Shell"]);
    for (const [name, { right, told, labelled }] of frequent) {
      expect([name, right / told >= 0.95, right / labelled >= 0.95]).toEqual([name, true, true]);
    }
  });
});
