/** Broken variants of a solution: one changed operator or constant each, and bodies that return a constant. Tests must catch them. */
import type { LanguageName } from "../../src/llm/evaluation/code/toolchains/all.ts";

/** What is sought and what stands in its place; the first place outside of comments is changed, one rule at a time. */
const RULES: readonly (readonly [RegExp, string])[] = [
  [/===/, "!=="], [/!==/, "==="], [/==/, "!="], [/!=/, "=="],
  [/ <= /, " > "], [/ >= /, " < "], [/ < /, " >= "], [/ > /, " <= "],
  [/\+=/, "-="], [/-=/, "+="], [/ \+ /, " - "], [/ - /, " + "], [/ \* /, " + "], [/ % /, " * "],
  [/&&/, "||"], [/\|\|/, "&&"], [/ and /, " or "], [/ or /, " and "],
  [/\btrue\b/, "false"], [/\bfalse\b/, "true"], [/\bTrue\b/, "False"], [/\bFalse\b/, "True"],
  [/<=/, ">"], [/>=/, "<"], [/(?<=\w)<(?=\w)/, ">="], [/(?<=\w)\+(?=\w)/, "-"], [/(?<=\w)-(?=\w)/, "+"], [/(?<=[\w)])\*(?=[\w(])/, "+"], [/(?<=[\w)])%(?=[\w(])/, "*"],
  [/\b0\b/, "1"], [/\b1\b/, "2"], [/\b2\b/, "3"], [/\b3\b/, "4"], [/\b(\d\d+)\b/, "7$1"],
  [/"([^"\n]*)"/, '"$1x"'], [/'([^'\n]{0}|[^'\n]{2,})'/, "'$1x'"], [/'([a-wA-W])'/, "'z'"],
  [/\bmin\b/, "max"], [/\bmax\b/, "min"], [/\bsorted\(/, "list("], [/\breverse=True/, "reverse=False"], [/\bnot /, ""], [/!(?=[\w(])/, ""],
  [/\.upper\(/, ".lower("], [/\.lower\(/, ".upper("], [/\btoUpperCase\b/, "toLowerCase"], [/\btoLowerCase\b/, "toUpperCase"], [/\breturn (?=[\w[(])/, "return not "], [/\breturn (?=[\w[(])/, "return !"],
];

/** The solution with comments blanked, so that places in both are the same. */
function code(solution: string): string {
  return solution.replace(/\/\/[^\n]*|\/\*[\s\S]*?\*\/|^\s*#(?!include)[^\n]*/gm, (comment) => comment.replace(/[^\n]/g, " "));
}

/** Bodies that return nothing worth having; of those that need a type, the ones that do not compile say nothing. */
function constants(language: LanguageName, prompt: string): string[] {
  // The result of Go's last function by its head: `func Name(a []int) (int, bool) {`.
  const results = /\)\s*\(?([^(){]*?)\)?\s*\{\s*$/.exec(prompt)?.[1] ?? "";
  const types = results.split(",").map((type) => type.trim()).filter((type) => type !== "");
  const bodies: Readonly<Record<LanguageName, readonly string[]>> = {
    python: ["    return None\n"],
    js: ["  return null;\n}\n"],
    java: ["null", "0", "false"].map((value) => `        return ${value};\n    }\n}\n`),
    go: [`${types.map((type, i) => `    var zero${i} ${type}\n`).join("")}    return ${types.map((_, i) => `zero${i}`).join(", ")}\n}\n`],
    cpp: ["    return {};\n}\n"],
    rust: ["    return Default::default();\n}\n", "    return 0 as _;\n}\n"],
  };
  return [...bodies[language]];
}

/** Variants that differ from the solution: at most `most` by operators, in the order of the rules, then the constants. */
export function mutants(solution: string, { language, prompt, most }: { readonly language: LanguageName; readonly prompt: string; readonly most: number }): string[] {
  const seen = code(solution);
  const found = RULES.flatMap(([pattern, replacement]) => {
    const match = pattern.exec(seen);
    if (match === null) return [];
    const changed = replacement.replaceAll("$1", match[1] ?? "");
    return [solution.slice(0, match.index) + changed + solution.slice(match.index + match[0].length)];
  });
  return [...[...new Set(found)].filter((mutant) => mutant !== solution).slice(0, most), ...constants(language, prompt)];
}
