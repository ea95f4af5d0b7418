/** Java: the solution is a class of its own, which the test's class calls. */
import { closings } from "./braces.ts";
import { toLastBrace, type Dialect } from "./dialect.ts";

const MAIN = "public static void main";

/** Up to the end of the solution's class, which is closed where only its method is whole. */
function cut(answer: string, prompt: string): string {
  const ends = closings(prompt + answer).filter(({ end }) => end > prompt.length);
  const whole = ends.find(({ depth }) => depth === 0);
  if (whole !== undefined) return answer.slice(0, whole.end - prompt.length);
  const method = ends.findLast(({ depth }) => depth === 1);
  return method === undefined ? answer : `${answer.slice(0, method.end - prompt.length)}\n}`;
}

function cutAsReference(answer: string): string {
  const main = answer.indexOf(MAIN);
  const kept = toLastBrace(main < 0 ? answer : `${answer.slice(0, main)}}`);
  const count = (brace: string): number => kept.split(brace).length;
  return count("{") + 1 === count("}") ? `${kept}\n}` : kept;
}

export const java: Dialect = {
  comment: "//",
  prompt: ({ prompt }) => prompt,
  stop: [MAIN, "\npublic class", "\nclass", "\n```"],
  cut: (answer, { prompt }) => cut(answer, prompt),
  cutAsReference,
  assemble: ({ prompt, test }, solution, proof) => `${prompt}${solution}\n${test.replace(/\}\s*\}\s*$/, () => `System.out.println("\\n${proof}"); } }\n`)}`,
};
