/** Shared code reads what a peer declares and never tests its name: an architecture, a method or a benchmark is one file and one line in its record. */
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { globSync } from "tinyglobby";
import { describe, expect, test } from "vitest";
import { ADAPTER_METHODS } from "../src/llm/adapters/all.ts";
import { ARCHITECTURES } from "../src/llm/architectures/all.ts";
import { BENCHMARKS } from "../src/llm/evaluation/all.ts";

const SOURCES = globSync("src/**/*.ts", { ignore: ["**/*.test.ts", "**/*.fixture.ts"] }).map((path) => ({ path, text: readFileSync(path, "utf8") }));

/** Places outside of a peer's own folder of files where its name is compared with something. */
function comparisons(name: string): string[] {
  const pattern = new RegExp(`(?:[=!]==?\\s*|case\\s+|startsWith\\(|includes\\()["'\`]${name}["'\`]|["'\`]${name}["'\`]\\s*[=!]==`, "u");
  return SOURCES.filter(({ text }) => pattern.test(text)).map(({ path }) => path);
}

/** Files that import the file at a path: peers of different kinds may have one name. */
function importers(file: string): string[] {
  const imported = ({ path, text }: (typeof SOURCES)[number]): boolean => [...text.matchAll(/from "(\.[^"]+)"/gu)].some(([, to = ""]) => join(dirname(path), to) === file);
  return SOURCES.filter(imported).map(({ path }) => path);
}

describe.each([["architecture", "src/llm/architectures", Object.keys(ARCHITECTURES)], ["method", "src/llm/adapters", Object.keys(ADAPTER_METHODS)]] as const)("every %s", (_, folder, names) => {
  test.each(names)("%s is one file, and no other file tests its name", (name) => {
    const file = `${name.replaceAll("_", "-")}.ts`;
    const own = SOURCES.find(({ path }) => path === `${folder}/${file}` || path === `${folder}/${name}.ts`);
    expect(own?.path, `a file ${folder}/${file}`).toBeDefined();
    // A word like "prompt" may be compared elsewhere, where it is no method's name: in rooms that know no methods.
    expect(comparisons(name).filter((path) => dirname(path).startsWith("src/llm/a") || dirname(path) === "src/llm/training" || path.startsWith("src/app/experiment")).filter((path) => path !== own?.path)).toEqual([]);
  });

  test.each(names)("%s is imported by its record and by methods built on it alone", (name) => {
    const own = SOURCES.find(({ path }) => path.startsWith(`${folder}/`) && [name, name.replaceAll("_", "-")].includes(basename(path, ".ts")));
    const others = importers(own?.path ?? "").filter((path) => dirname(path) !== folder);
    expect(others).toEqual([]);
    expect(importers(own?.path ?? "")).toContain(`${folder}/all.ts`);
  });
});

test.each(Object.keys(BENCHMARKS))("the benchmark %s is one file, which its record alone imports, and no other file tests its name", (name) => {
  const own = SOURCES.find(({ path }) => path.startsWith("src/llm/evaluation/") && basename(path) === `${name}.ts`);
  expect(own?.path, `a file ${name}.ts`).toBeDefined();
  expect(comparisons(name).filter((path) => path.startsWith("src/llm/") || path.startsWith("src/app/cli")).filter((path) => path !== own?.path)).toEqual([]);
  expect(importers(own?.path ?? "")).toEqual(["src/llm/evaluation/all.ts"]);
});

test("docs/extending.md shows the smallest method as it is", () => {
  const page = readFileSync("docs/extending.md", "utf8");
  expect(page).toContain(`\`\`\`ts\n${readFileSync("src/llm/adapters/bitfit.ts", "utf8").trimEnd()}\n\`\`\``);
});
