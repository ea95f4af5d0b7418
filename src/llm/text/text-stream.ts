/** Turns tokens into text one at a time, for showing a generated text while it grows. */
import type { Tokenizer } from "./tokenizer.ts";

/** Text that grows token by token and never ends in half a character. */
export interface TextStream {
  /** Adds a token; returns the text that it completes, "" while a character is still missing bytes. */
  push(id: number): string;
  /** Whatever is left, with U+FFFD for bytes that never became a character. */
  finish(): string;
}

/** Ids of the prompt that are decoded along, so that a tokenizer that strips a text's first space does not strip one in its middle. */
const CONTEXT_TOKENS = 6;
const REPLACEMENT = "\ufffd";

/**
 * A stream of text that continues the tokens of `prompt`; the prompt's own text is not part of it.
 * Decodes only a window (some tokens shown before and all not yet shown), so its cost does not grow with the text.
 */
export function createTextStream(tokenizer: Tokenizer, options: { readonly prompt: ArrayLike<number>; readonly skipSpecialTokens: boolean }): TextStream {
  const { skipSpecialTokens } = options;
  /** Tokens before the pending ones whose text has been shown. */
  let context = Array.from(options.prompt).slice(-CONTEXT_TOKENS);
  let pending: number[] = [];

  const decode = (ids: readonly number[]): string => tokenizer.decode(ids, { skipSpecialTokens });
  const take = (text: string, shown: string): string => {
    context = [...context, ...pending].slice(-CONTEXT_TOKENS);
    pending = [];
    return text.slice(shown.length);
  };
  return {
    push(id) {
      pending.push(id);
      const shown = decode(context);
      const text = decode([...context, ...pending]);
      if (text.endsWith(REPLACEMENT) || text.length <= shown.length) return "";
      return take(text, shown);
    },
    finish() {
      if (pending.length === 0) return "";
      return take(decode([...context, ...pending]), decode(context));
    },
  };
}
