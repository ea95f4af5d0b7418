/** The number that a worked answer ends in: currency, thousands, decimals, fractions, signs and what follows the answer are told apart. */

/** Codes that may stand right before an amount. */
const CODES = "USD|EUR|GBP|AUD|CAD|INR|RM|Rs\\.?|US";
const CURRENCY = "[$€£¥₹]";
const DIGITS = "(?:\\d{1,3}(?:,\\d{3})+(?!\\d)|\\d+)(?:\\.\\d+)?|\\.\\d+";
/**
 * A number as people write it: sign and currency in either order, thousands, decimals, a fraction or a mixed number. Not part
 * of a word (H2O), nor the second half of a difference (10-5).
 */
const NUMBER = new RegExp(
  `(?<![\\p{L}\\d_.]|\\d\\s?[x×]\\s?)(?<word>negative\\s+)?(?<sign>(?<![\\d)]\\s?)[-−])?\\s?(?:(?:${CODES})\\s?)?(?:\\\\?${CURRENCY}\\s?)?(?<inner>[-−])?(?<whole>${DIGITS})(?:(?:\\s(?<over>\\d+))?\\s?/\\s?(?<under>\\d+(?![\\d/])))?`,
  "giu",
);
/** LaTeX's fractions and boxes as plain text. */
const FRACTION = /\\[dt]?frac\{(-?\d+)\}\{(\d+)\}/g;
/** Left out, or nothing. */
const DOTS = /\.{2,}|…/g;
/** Multiplication and division are no part of a number; what they join is. */
const EQUALS = /=|≈/g;

/** What an answer is announced by. */
const MARKS = [/####/, /\\boxed\{/, /\bthe\s+(?:final\s+)?answer\s+is\b/i, /\bfinal\s+answer\s*:/i];
/** Where another question begins: nothing after it belongs to the answer. */
const NEXT_QUESTION = /(?:^|\n)\s*(?:\*\*)?(?:Q|Question|Problem)(?:\s+\d+)?\s*(?:\*\*)?:|\n\s*###\s*(?:Instruction|Input)\b/i;

function valueOf({ groups = {} }: RegExpExecArray): number {
  const { word, sign, inner, whole = "0", over, under } = groups;
  const first = Number(whole.replaceAll(",", ""));
  const value = under === undefined ? first : over === undefined ? first / Number(under) : first + Number(over) / Number(under);
  return (word ?? sign ?? inner) === undefined ? value : -value;
}

/** All numbers of a text in their order, those without a finite value left out. */
function numbersIn(text: string): readonly number[] {
  return [...text.replaceAll(FRACTION, "$1/$2").replaceAll(DOTS, " ").matchAll(NUMBER)].map(valueOf).filter(Number.isFinite);
}

/** The part of a text that states its answer, up to the end of the sentence or line; undefined where nothing announces one. */
function announced(text: string): string | undefined {
  const starts = MARKS.flatMap((mark) => {
    const found = mark.exec(text);
    return found === null ? [] : [found.index + found[0].length];
  });
  return starts.length === 0 ? undefined : text.slice(Math.min(...starts));
}

/** The end of a sentence, or of a line that says something. */
const SENTENCE_END = /(?<=\S)\n|(?<!\d)\.(?=\s|$)|\.(?=\s|$)/;

/**
 * The number that a worked answer ends in, undefined where there is none: the first one after `the answer is` (or `####`, or in
 * a box), of a sum the one after its last equals sign; without such words the last one of the text. What follows a next
 * question is not looked at.
 */
export function finalNumber(answer: string): number | undefined {
  const [text = ""] = answer.split(NEXT_QUESTION);
  const rest = announced(text);
  if (rest === undefined) return numbersIn(text).at(-1);
  const [sentence = ""] = rest.split(SENTENCE_END);
  const sides = sentence.split(EQUALS);
  const afterEquals = sides.length > 1 && /\d/.test(sides[0] ?? "") ? numbersIn(sides.at(-1) ?? "")[0] : undefined;
  return afterEquals ?? numbersIn(rest)[0] ?? numbersIn(text).at(-1);
}

/** Whether two numbers are the same but for rounding in their last digits. */
export function equalNumbers(a: number, b: number): boolean {
  return Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a), Math.abs(b));
}

/** As FederatedScope-LLM reads an answer: a text, compared as such. Commas are dropped; what follows a next question counts. */
export function finalNumberText(answer: string): string | undefined {
  const [before = "", ...after] = answer.toLowerCase().split("the answer is");
  const flagged = after.length > 0;
  const found = (flagged ? (after[0] ?? "") : before).replaceAll(",", "").match(/-?\d+\.?\d*/g);
  return (flagged ? found?.[0] : found?.at(-1))?.replace(/\.$/, "");
}
