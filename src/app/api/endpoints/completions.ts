/** POST /v1/completions: continues prompts as they stand, with log-probabilities of what was written and, by `echo`, of the prompt. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { must } from "../../../core/index.ts";
import type { ServedModel, ServedText, ShownToken } from "../../../index.ts";
import { badRequest } from "../api-error.ts";
import type { Endpoint } from "../endpoint.ts";
import { commonFields, LIMITS, samplingOf, stopsOf, whole } from "../fields.ts";
import { findModel } from "../find-model.ts";
import { parseBody } from "../read-body.ts";
import { endEvents, sendEvent, sendJson } from "../reply.ts";

/** Tokens that OpenAI's completions write where nothing is said. */
const DEFAULT_TOKENS = 16;

const tokenIds = z.array(z.int("expected token ids").min(0, "expected token ids")).min(1, "expected at least one token id");
const fields = {
  ...commonFields,
  prompt: z.union([z.string(), tokenIds, z.array(z.string()).min(1), z.array(tokenIds).min(1)], "expected a text, a list of texts, token ids, or a list of lists of token ids"),
  echo: z.boolean("expected true or false").nullish(),
  logprobs: whole(0, LIMITS.top).nullish(),
  best_of: whole(1, LIMITS.answers).nullish(),
  suffix: z.unknown().refine((value) => value == null || value === "", { error: "expected nothing: this server does not fill in the middle" }).optional(),
};
const schema = z.strictObject(fields);

interface Prompt {
  readonly text: string;
  readonly ids: Int32Array;
  /** Tokens at the beginning that are not of the text. */
  readonly added: number;
}

function promptsOf(prompt: z.output<typeof schema>["prompt"], model: ServedModel): readonly Prompt[] {
  const list: readonly (string | readonly number[])[] = typeof prompt === "string" ? [prompt] : prompt.every((one) => typeof one === "number") ? [prompt] : prompt.filter((one) => typeof one !== "number");
  return list.map((one): Prompt => {
    if (typeof one === "string") return { text: one, ...model.encode(one) };
    const unknown = one.find((id) => id >= model.vocabSize);
    if (unknown !== undefined) throw badRequest(`prompt: expected token ids below ${model.vocabSize}, got ${unknown}.`, "prompt");
    const ids = Int32Array.from(one);
    return { text: model.decode(ids), ids, added: 0 };
  });
}

/** JSON has no infinity. */
const finite = (x: number | null): number | null => (x === null ? null : Math.max(x, -9999));

/** The likeliest and, where it is not among them, the token itself. Of equal texts the likelier stays. */
function topOf({ text, logProbability, top }: ShownToken): Readonly<Record<string, number>> | null {
  if (logProbability === null) return null;
  const all = new Map<string, number>();
  for (const one of [...top, { text, logProbability }]) if (!all.has(one.text)) all.set(one.text, finite(one.logProbability) ?? 0);
  return Object.fromEntries(all);
}

/** Characters as Python counts them. */
const lengthOf = (text: string): number => Array.from(text).length;

/**
 * OpenAI's lists of tokens. Tokens `start` where they do in the choice's text, in code points; those that the tokenizer put
 * before it (`added`) take no room, nor does a space that it put before the first word (`surplus`).
 */
function logprobsOf(tokens: readonly ShownToken[], { start, added = 0, surplus = 0, top }: { readonly start: number; readonly added?: number; readonly surplus?: number; readonly top: number }): Readonly<Record<string, unknown>> {
  let offset = start;
  const offsets = tokens.map(({ text }, i) => {
    const at = offset;
    if (i >= added) offset += lengthOf(text) - (i === added ? surplus : 0);
    return at;
  });
  return { tokens: tokens.map(({ text }) => text), token_logprobs: tokens.map(({ logProbability }) => finite(logProbability)), top_logprobs: top === 0 ? null : tokens.map(topOf), text_offset: offsets };
}

/** The lists of a prompt's tokens. */
function promptLogprobs(tokens: readonly ShownToken[], { text, added }: Prompt, top: number): Readonly<Record<string, unknown>> {
  const own = tokens.slice(added).reduce((sum, token) => sum + lengthOf(token.text), 0);
  return logprobsOf(tokens, { start: 0, added, surplus: Math.max(0, own - lengthOf(text)), top });
}

/** The `n` texts of the greatest mean log-probability of a token; all of them in the order they were drawn. */
function likeliest(texts: readonly ServedText[], n: number): readonly ServedText[] {
  if (texts.length === n) return texts;
  const mean = ({ tokens }: ServedText): number => tokens.reduce((sum, { logProbability }) => sum + (logProbability ?? 0), 0) / Math.max(1, tokens.length);
  return [...texts].sort((a, b) => mean(b) - mean(a)).slice(0, n);
}

export const completions: Endpoint = {
  method: "POST",
  async answer({ model, body: raw, response, signal, created }) {
    const body = parseBody(raw, schema, Object.keys(fields));
    const name = findModel(model, body.model);
    const { echo, logprobs, stream } = body;
    const n = body.n ?? 1;
    const drawn = body.best_of ?? n;
    if (drawn < n) throw badRequest(`best_of: expected at least n, which is ${n}, got ${drawn}.`, "best_of");
    if (drawn > n && stream === true) throw badRequest(`best_of: expected n, which is ${n}, in a stream, got ${drawn}.`, "best_of");
    const prompts = promptsOf(body.prompt, model);
    if (prompts.length * drawn > LIMITS.texts) throw badRequest(`prompt: expected at most ${LIMITS.texts} texts, got ${prompts.length} prompts times ${drawn}.`, "prompt");
    model.requireRoom(name, prompts.length * drawn);
    const sampling = samplingOf(body);
    const head = { id: `cmpl-${randomUUID()}`, object: "text_completion", created, model: name };
    const top = logprobs ?? 0;
    const event = (index: number, text: string, more: { readonly logprobs: unknown; readonly finish_reason: string | null }): void => sendEvent(response, { ...head, choices: [{ index, text, ...more }] });
    // One that fails takes the others along.
    const failed = new AbortController();
    const write = async (place: number): Promise<ServedText> => {
      const prompt = must(prompts[Math.floor(place / drawn)], "prompt");
      let offset = echo === true ? lengthOf(prompt.text) : 0;
      if (stream === true && echo === true && logprobs == null) event(place, prompt.text, { logprobs: null, finish_reason: null });
      const written = await model.write(
        { model: name, prompt: prompt.ids, maxNewTokens: body.max_tokens ?? DEFAULT_TOKENS, sampling, draw: place % drawn, stop: stopsOf(body), scorePrompt: echo === true && logprobs != null, top },
        stream !== true ? { signal: AbortSignal.any([signal, failed.signal]) } : {
          signal: AbortSignal.any([signal, failed.signal]),
          onPrompt: (tokens) => event(place, prompt.text, { logprobs: promptLogprobs(tokens, prompt, top), finish_reason: null }),
          onPiece: (text, tokens) => {
            event(place, text, { logprobs: logprobs == null ? null : logprobsOf(tokens, { start: offset, top }), finish_reason: null });
            for (const token of tokens) offset += lengthOf(token.text);
          },
        },
      );
      if (stream === true) event(place, "", { logprobs: null, finish_reason: written.endedBy });
      return written;
    };
    const texts = await Promise.all(Array.from({ length: prompts.length * drawn }, (_, place) => write(place).catch((error: unknown) => {
      failed.abort();
      throw error;
    })));
    const usage = usageOf(prompts.map(({ ids }) => ids.length), texts);
    if (stream === true) {
      if (body.stream_options?.include_usage === true) sendEvent(response, { ...head, choices: [], usage });
      return endEvents(response);
    }
    const given = prompts.flatMap((_, i) => likeliest(texts.slice(i * drawn, (i + 1) * drawn), n));
    const choices = given.map((written, place) => {
      const prompt = must(prompts[Math.floor(place / n)], "prompt");
      const text = (echo === true ? prompt.text : "") + written.text;
      const length = echo === true ? lengthOf(prompt.text) : 0;
      const [before, after] = [promptLogprobs(written.prompt, prompt, top), logprobsOf(written.tokens, { start: length, top })];
      const lists = Object.fromEntries(Object.keys(before).map((key) => [key, Array.isArray(before[key]) && Array.isArray(after[key]) ? [...(before[key] as readonly unknown[]), ...(after[key] as readonly unknown[])] : null]));
      return { index: place, text, logprobs: logprobs == null ? null : lists, finish_reason: written.endedBy };
    });
    sendJson(response, { ...head, choices, usage });
  },
};

/** Tokens read and written; a prompt counts once, however many answers it has. */
export function usageOf(promptTokens: readonly number[], texts: readonly ServedText[]): { readonly prompt_tokens: number; readonly completion_tokens: number; readonly total_tokens: number } {
  const prompt = promptTokens.reduce((sum, tokens) => sum + tokens, 0);
  const completion = texts.reduce((sum, { tokens }) => sum + tokens.length, 0);
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
}
