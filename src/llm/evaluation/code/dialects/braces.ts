/** Where blocks end in languages with braces: strings, characters and comments are skipped. */

/** Quotes that begin a text: JavaScript and Go also have backquotes; Rust's apostrophe may begin a lifetime. */
const QUOTES = new Set(['"', "'", "`"]);

/** Index after the text or character that begins at `at`; `at + 1` where it is only an apostrophe (a lifetime, a digit separator). */
function afterQuoted(source: string, at: number): number {
  const quote = source[at];
  const limit = quote === "'" ? Math.min(source.length, at + 256) : source.length;
  for (let i = at + 1; i < limit; i++) {
    if (source[i] === "\\") i++;
    else if (source[i] === quote) return i + 1;
    else if (source[i] === "\n" && quote !== "`") break;
  }
  return at + 1;
}

/** Lifetimes (`&'a str`, `<'a>`): an apostrophe with a name and no closing apostrophe after one letter. */
const LIFETIME = /^'[A-Za-z_]\w*(?![\w'])/;

/** Places after each closing brace, with the number of blocks that are still open there. */
export function closings(source: string): { readonly end: number; readonly depth: number }[] {
  const found: { end: number; depth: number }[] = [];
  let depth = 0;
  for (let i = 0; i < source.length; ) {
    const rest = source.startsWith.bind(source);
    if (rest("//", i)) i = endOf(source.indexOf("\n", i), source);
    else if (rest("/*", i)) i = endOf(source.indexOf("*/", i + 2), source, 2);
    else if (QUOTES.has(source[i] ?? "") && !(source[i] === "'" && LIFETIME.test(source.slice(i, i + 40)))) i = afterQuoted(source, i);
    else {
      if (source[i] === "{") depth++;
      if (source[i] === "}") found.push({ end: i + 1, depth: --depth });
      i++;
    }
  }
  return found;
}

function endOf(at: number, source: string, length = 0): number {
  return at < 0 ? source.length : at + length;
}

/** Whole functions: the longest part of the answer that ends where all blocks of prompt and answer are closed; all where there is no such place. */
export function wholeFunctions(prompt: string, answer: string): string {
  const end = closings(prompt + answer).findLast(({ end: place, depth }) => depth === 0 && place > prompt.length)?.end;
  return end === undefined ? answer : answer.slice(0, end - prompt.length);
}
