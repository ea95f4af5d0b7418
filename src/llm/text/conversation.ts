/**
 * Cuts a rendered conversation into pieces that are learnt (what the assistant says, with the token that ends its turn) and
 * pieces that are not. Boundaries are found by rendering prefixes of the conversation, so no template needs to be known.
 */
import { FedtuneError } from "../../core/base/errors.ts";
import type { ChatMessage, ChatTemplate } from "./chat-template.ts";

/** A stretch of training text. */
export interface TextPiece {
  readonly text: string;
  /** Whether loss is computed on its tokens. */
  readonly learn: boolean;
}

function boundaryError({ template, where }: SplitOptions, turn: number, got: string): FedtuneError {
  return new FedtuneError("data", {
    where: `${where ?? "conversation"}, message ${turn + 1}, written by ${template.file}`,
    expected: "a chat template whose text of the first messages stays the same when more messages follow",
    got,
    remedy: "Use the template `alpaca` or a Jinja file of your own, or conversations with one answer each",
    details: { turn },
  });
}

/** End (exclusive) of the last end token in text[from, to); undefined where there is none. */
function afterLastEndToken(text: string, range: readonly [from: number, to: number], endTokens: readonly string[]): number | undefined {
  const [from, to] = range;
  let end: number | undefined;
  for (const token of endTokens) {
    const at = text.lastIndexOf(token, to - token.length);
    if (token !== "" && at >= from && at + token.length <= to) end = Math.max(end ?? 0, at + token.length);
  }
  return end;
}

/** Start and end of the first end token in text at or after `from`. */
function firstEndToken(text: string, from: number, endTokens: readonly string[]): readonly [number, number] | undefined {
  let found: readonly [number, number] | undefined;
  for (const token of endTokens) {
    const at = token === "" ? -1 : text.indexOf(token, from);
    if (at >= 0 && (found === undefined || at < found[0])) found = [at, at + token.length];
  }
  return found;
}

/**
 * End of what is learnt of the assistant's turn `turn`, which begins at `start` in `full`.
 * Normally the text of messages[0 … turn] is a prefix of `full`. Templates that write the last turn differently (leaving out
 * earlier turns' thoughts, say) break that; then the turn ends at its first end token, provided what stands before it is what
 * the message says.
 */
function findTurnEnd(full: string, start: number, turn: number, context: SplitOptions & { readonly messages: readonly ChatMessage[] }): number {
  const { endTokens, messages } = context;
  const upToHere = render(context, messages.slice(0, turn + 1), false);
  if (upToHere.length >= start && full.startsWith(upToHere)) {
    const trimmed = start + full.slice(start, upToHere.length).trimEnd().length;
    return afterLastEndToken(full, [start, upToHere.length], endTokens) ?? trimmed;
  }
  const end = firstEndToken(full, start, endTokens);
  const said = end === undefined ? "" : full.slice(start, end[0]).trim();
  if (end !== undefined && said !== "" && (messages[turn]?.content ?? "").trim().endsWith(said)) return end[1];
  throw boundaryError(context, turn, "an answer that is written differently once another message follows it");
}

interface SplitOptions {
  readonly template: ChatTemplate;
  /** Texts of the tokens that end a turn; the first is the model's eos. */
  readonly endTokens: readonly string[];
  /** The row, for messages. */
  readonly where?: string;
}

function render({ template, where }: SplitOptions, messages: readonly ChatMessage[], addGenerationPrompt: boolean): string {
  return template.render(messages, { addGenerationPrompt, ...(where === undefined ? {} : { where }) });
}

/**
 * The rendered conversation as pieces whose texts joined are the text rendered whole. Learnt: each assistant message and its
 * end token, not the line break after it. Where the template ends the last answer with no end token, `endsOpen` is true
 * and the caller appends one.
 * Throws FedtuneError "data" where there is no answer, the conversation begins with one, or boundaries cannot be told.
 */
export function splitConversation(messages: readonly ChatMessage[], options: SplitOptions): { readonly pieces: readonly TextPiece[]; readonly endsOpen: boolean } {
  const { endTokens } = options;
  if (messages[0]?.role === "assistant" || !messages.some((m) => m.role === "assistant")) {
    throw new FedtuneError("data", { where: options.where ?? "conversation", expected: "a user's message and then an assistant's", got: `roles ${messages.map((m) => m.role).join(", ") || "(none)"}` });
  }
  const full = render(options, messages, false);
  const pieces: TextPiece[] = [];
  let done = 0;
  let endsOpen = false;
  for (const [turn, message] of messages.entries()) {
    if (message.role !== "assistant") continue;
    const prompt = render(options, messages.slice(0, turn), true);
    if (!full.startsWith(prompt) || prompt.length < done) throw boundaryError(options, turn, "messages before an answer that are written differently once it follows");
    const end = findTurnEnd(full, prompt.length, turn, { ...options, messages });
    pieces.push({ text: full.slice(done, prompt.length), learn: false }, { text: full.slice(prompt.length, end), learn: true });
    done = end;
    endsOpen = turn === messages.length - 1 && !endTokens.some((token) => token !== "" && full.slice(prompt.length, end).endsWith(token));
  }
  if (done < full.length && !endsOpen) pieces.push({ text: full.slice(done), learn: false });
  return { pieces: pieces.filter((piece) => piece.text !== ""), endsOpen };
}
