/** Broken variants of a solution, each by one changed operator or constant: what tests must catch. */

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

/** Variants that differ from the solution, in the order of the rules. */
export function mutants(solution: string): string[] {
  const seen = code(solution);
  const found = RULES.flatMap(([pattern, replacement]) => {
    const match = pattern.exec(seen);
    if (match === null) return [];
    return [solution.slice(0, match.index) + match[0].replace(pattern, replacement) + solution.slice(match.index + match[0].length)];
  });
  return [...new Set(found)].filter((mutant) => mutant !== solution);
}
