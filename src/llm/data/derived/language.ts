/**
 * The programming language of a row, by rules: the language of the answer's code, or of the code that is spoken of. An
 * instruction's own words go first, then the look of the answer, then that of the input. How often this is right is in docs/data.md.
 */
import { LANGUAGES } from "./language-signs.ts";
import type { FieldRule } from "./rule.ts";

/** Weight from which marks are taken for code of a language, in the answer and in the input. */
const ENOUGH = 5;

/** What is looked at of a text: its beginning tells, and no text can hold the rules up. */
const MOST_CHARACTERS = 4000;

/** `… to X`, `… into X`: what a translation ends in. */
const TRANSLATION = /\b(translate|convert|rewrite|port|transform|change|turn|refactor|transcribe)\b[\s\S]{0,120}?\b(in ?to|to|as|in|using)\b([\s\S]*)/i;

interface Found {
  readonly name: string;
  readonly weight: number;
}

/** Languages that a text names, in the order in which it does. */
function namedIn(text: string): readonly string[] {
  const found = Object.entries(LANGUAGES).flatMap(([name, { names }]) => {
    const at = text.search(names);
    return at < 0 ? [] : [{ name, at }];
  });
  return found.sort((a, b) => a.at - b.at).map(({ name }) => name);
}

/** The language that a text looks like code of; of those in `among`, where that is given. */
function looksLike(text: string, among: readonly string[] = Object.keys(LANGUAGES)): Found | undefined {
  let best: Found | undefined;
  for (const name of among) {
    const weight = (LANGUAGES[name]?.marks ?? []).reduce((sum, [mark, more]) => (mark.test(text) ? sum + more : sum), 0);
    if (weight > (best?.weight ?? 0)) best = { name, weight };
  }
  return best;
}

/** What a translation of several named languages ends in. */
function targetOf(instruction: string): string | undefined {
  const target = TRANSLATION.exec(instruction)?.[3];
  return target === undefined ? undefined : namedIn(target)[0];
}

/** The language of a row; undefined where nothing tells. */
function languageOf(instruction: string, input: string, output: string): string | undefined {
  const named = namedIn(instruction);
  const answer = looksLike(output);
  const [word] = named;
  if (word !== undefined && named.length === 1) {
    // "Write a function that makes an HTML table": the answer's own look goes before the name of what it makes.
    const about = LANGUAGES[word]?.spokenOf === true;
    return about && answer !== undefined && answer.weight >= ENOUGH + 3 && (looksLike(output, [word])?.weight ?? 0) < answer.weight ? answer.name : word;
  }
  const target = targetOf(instruction);
  if (named.length > 1 && target !== undefined) return target;
  const ofNamed = looksLike(output, named);
  if (ofNamed !== undefined && ofNamed.weight >= ENOUGH) return ofNamed.name;
  if (answer !== undefined && answer.weight >= ENOUGH) return answer.name;
  if (word !== undefined) return word;
  const given = looksLike(input);
  return given !== undefined && given.weight >= ENOUGH ? given.name : namedIn(output)[0];
}

export const language: FieldRule = {
  summary: "the programming language of code, from instruction, input and answer",
  minExamples: 100,
  derive: ({ instruction, input, output }) => languageOf(instruction.slice(0, MOST_CHARACTERS), input.slice(0, MOST_CHARACTERS), output.slice(0, MOST_CHARACTERS)),
};
