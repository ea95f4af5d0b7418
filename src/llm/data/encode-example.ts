/** One example as token ids and labels. All examples of a data set are left to encode.ts. */
import type { Tokenizer } from "../text/tokenizer.ts";
import type { TextPiece } from "../text/conversation.ts";
import type { Example } from "./examples.ts";
import type { DataSettings } from "./settings.ts";
import type { PromptTemplate } from "./templates/template.ts";
import { IGNORED_LABEL } from "./types.ts";

export interface EncodedExample {
  readonly ids: readonly number[];
  /** `labels[p]` is `ids[p]` where the token is learnt, else IGNORED_LABEL. */
  readonly labels: readonly number[];
  /** Whether the end was cut off. */
  readonly truncated: boolean;
}

export interface EncodeContext {
  readonly tokenizer: Tokenizer;
  readonly template: PromptTemplate;
  readonly settings: Pick<DataSettings, "max_tokens" | "overflow">;
}

/** Pieces that follow each other and are treated alike become one, so that text is tokenised apart only where learning begins or ends. */
function joinAlike(pieces: readonly TextPiece[]): readonly TextPiece[] {
  const joined: TextPiece[] = [];
  for (const piece of pieces) {
    const last = joined.at(-1);
    if (last?.learn === piece.learn) joined[joined.length - 1] = { text: last.text + piece.text, learn: piece.learn };
    else joined.push(piece);
  }
  return joined;
}

/** The bos that goes before `text`: none where the model has none, the template wants none, or the text begins with it. */
function bosBefore(text: string, { tokenizer, template }: Omit<EncodeContext, "settings">): readonly number[] {
  const { bosId } = tokenizer;
  if (bosId === undefined || (template.bos === "as-tokenizer" && !tokenizer.addsBos)) return [];
  const bosText = tokenizer.tokenText(bosId);
  return bosText !== undefined && bosText !== "" && text.startsWith(bosText) ? [] : [bosId];
}

/**
 * An example as ids and labels: bos, then each piece of the template tokenised apart, then the end token.
 * Tokens after the last learnt one are left off; the rest is cut to `max_tokens`. Undefined where it is longer and overflow
 * is "drop", or where no learnt token is left (the first token never counts: nothing predicts it).
 */
export function encodeExample(example: Example, context: EncodeContext): EncodedExample | undefined {
  const { tokenizer, template, settings } = context;
  const { pieces, appendEos } = template.render(example);
  const parts = joinAlike(pieces);
  const ids: number[] = [...bosBefore(parts[0]?.text ?? "", context)];
  const labels: number[] = ids.map(() => IGNORED_LABEL);
  let learnt = 0;
  for (const part of parts) {
    for (const id of tokenizer.encode(part.text, { addSpecialTokens: false })) {
      ids.push(id);
      labels.push(part.learn ? id : IGNORED_LABEL);
    }
    if (part.learn) learnt = ids.length;
  }
  if (appendEos) {
    ids.length = learnt;
    labels.length = learnt;
    ids.push(tokenizer.eosId);
    labels.push(tokenizer.eosId);
    learnt = ids.length;
  }
  const truncated = learnt > settings.max_tokens;
  if (truncated && settings.overflow === "drop") return undefined;
  const length = Math.min(learnt, settings.max_tokens);
  const cut = labels.slice(0, length);
  const last = cut.findLastIndex((label) => label !== IGNORED_LABEL);
  return last < 1 ? undefined : { ids: ids.slice(0, last + 1), labels: cut.slice(0, last + 1), truncated };
}

/** Ids of an example up to where its first answer begins: what a model is given to continue. */
export function encodePrompt(example: Example, context: Omit<EncodeContext, "settings">): Int32Array {
  const parts = joinAlike(context.template.render(example).pieces);
  const first = parts[0];
  if (first === undefined) return Int32Array.of();
  const prompt = first.learn ? [] : context.tokenizer.encode(first.text, { addSpecialTokens: false });
  return Int32Array.of(...bosBefore(first.text, context), ...prompt);
}
