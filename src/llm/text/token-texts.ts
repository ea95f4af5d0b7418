/** The text that each single token of a sequence adds, for lists of tokens with their probabilities. */
import { createTextStream } from "./text-stream.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Tokens before one that are decoded along. */
const CONTEXT_TOKENS = 6;
const REPLACEMENT = "\ufffd";

/** The text that `id` adds after `before`, special tokens included; the tokenizer's own name for it where it is but part of a character or no text. */
export function tokenTextAfter(tokenizer: Tokenizer, before: readonly number[], id: number): string {
  const context = before.slice(-CONTEXT_TOKENS);
  const shown = tokenizer.decode(context, { skipSpecialTokens: false });
  const text = tokenizer.decode([...context, id], { skipSpecialTokens: false });
  const own = text.startsWith(shown) ? text.slice(shown.length) : "";
  return own === "" || own.includes(REPLACEMENT) ? (tokenizer.tokenText(id) ?? "") : own;
}

/** The text of each token: joined they are the sequence's text. A character of several tokens stands with its last. */
export function tokenTexts(tokenizer: Tokenizer, ids: ArrayLike<number>): readonly string[] {
  const stream = createTextStream(tokenizer, { prompt: [], skipSpecialTokens: false });
  const texts = Array.from(ids, (id) => stream.push(id));
  const rest = stream.finish();
  return rest === "" ? texts : [...texts.slice(0, -1), `${texts.at(-1) ?? ""}${rest}`];
}
