/** POST /v1/chat/completions: answers a conversation by the model's chat template. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { ChatMessage, ServedText, ShownToken } from "../../../index.ts";
import { badRequest } from "../api-error.ts";
import type { Endpoint } from "../endpoint.ts";
import { commonFields, LIMITS, samplingOf, stopsOf, whole } from "../fields.ts";
import { findModel } from "../find-model.ts";
import { parseBody } from "../read-body.ts";
import { endEvents, sendEvent, sendJson } from "../reply.ts";
import { usageOf } from "./completions.ts";

const nothing = z.unknown().refine((value) => value == null || (Array.isArray(value) && value.length === 0) || value === "none" || value === "auto", { error: "expected nothing: this server calls no tools" }).optional();
const textPart = z.strictObject({ type: z.literal("text", "expected parts of type \"text\": this server reads text alone"), text: z.string() });
const fields = {
  ...commonFields,
  messages: z.array(z.strictObject({ role: z.string("expected a role"), content: z.union([z.string(), z.array(textPart)], "expected a text, or a list of parts of type \"text\""), name: z.string().nullish(), type: z.literal("text").nullish() })).min(1, "expected at least one message"),
  max_completion_tokens: whole(0, 1e6).nullish(),
  logprobs: z.boolean("expected true or false").nullish(),
  top_logprobs: whole(0, LIMITS.top).nullish(),
  response_format: z.strictObject({ type: z.literal("text", "expected \"text\": this server cannot hold an answer to a form") }).nullish(),
  tools: nothing, tool_choice: nothing, functions: nothing, function_call: nothing, parallel_tool_calls: z.unknown().optional(),
};
const schema = z.strictObject(fields);

function messagesOf(messages: z.output<typeof schema>["messages"]): readonly ChatMessage[] {
  return messages.map(({ role, content }) => ({ role: role === "developer" ? "system" : role, content: typeof content === "string" ? content : content.map(({ text }) => text).join("") }));
}

function tokenOf(text: string, logProbability: number): Readonly<Record<string, unknown>> {
  return { token: text, logprob: Math.max(logProbability, -9999), bytes: [...Buffer.from(text)] };
}

function logprobsOf(tokens: readonly ShownToken[]): Readonly<Record<string, unknown>> {
  return { content: tokens.map(({ text, logProbability, top }) => ({ ...tokenOf(text, logProbability ?? 0), top_logprobs: top.map((one) => tokenOf(one.text, one.logProbability)) })), refusal: null };
}

export const chatCompletions: Endpoint = {
  method: "POST",
  async answer({ model, body: raw, response, signal, created }) {
    const body = parseBody(raw, schema, Object.keys(fields));
    const name = findModel(model, body.model);
    const { logprobs, stream } = body;
    const n = body.n ?? 1;
    if (body.top_logprobs != null && logprobs !== true) throw badRequest("top_logprobs: expected logprobs to be true beside it, got none.", "top_logprobs");
    const prompt = model.encodeChat(messagesOf(body.messages));
    model.requireRoom(name, n);
    const maxNewTokens = body.max_completion_tokens ?? body.max_tokens ?? Math.max(1, model.contextTokens(name) - prompt.length);
    const sampling = samplingOf(body);
    const id = `chatcmpl-${randomUUID()}`;
    const head = { id, object: stream === true ? "chat.completion.chunk" : "chat.completion", created, model: name };
    const event = (index: number, delta: Readonly<Record<string, unknown>>, more: { readonly logprobs: unknown; readonly finish_reason: string | null }): void => sendEvent(response, { ...head, choices: [{ index, delta, ...more }] });
    const failed = new AbortController();
    const write = async (place: number): Promise<ServedText> => {
      let begun = false;
      const begin = (): Readonly<Record<string, unknown>> => {
        const first = begun ? {} : { role: "assistant" };
        begun = true;
        return first;
      };
      const written = await model.write(
        { model: name, prompt, maxNewTokens, sampling, draw: place, stop: stopsOf(body), scorePrompt: false, top: body.top_logprobs ?? 0 },
        {
          signal: AbortSignal.any([signal, failed.signal]),
          ...(stream === true ? { onPiece: (content: string, tokens: readonly ShownToken[]) => event(place, { ...begin(), content }, { logprobs: logprobs === true ? logprobsOf(tokens) : null, finish_reason: null }) } : {}),
        },
      );
      if (stream === true) event(place, begin(), { logprobs: null, finish_reason: written.endedBy });
      return written;
    };
    const texts = await Promise.all(Array.from({ length: n }, (_, place) => write(place).catch((error: unknown) => {
      failed.abort();
      throw error;
    })));
    const usage = usageOf([prompt.length], texts);
    if (stream === true) {
      if (body.stream_options?.include_usage === true) sendEvent(response, { ...head, choices: [], usage });
      return endEvents(response);
    }
    const choices = texts.map(({ text, tokens, endedBy }, index) => ({ index, message: { role: "assistant", content: text, refusal: null }, logprobs: logprobs === true ? logprobsOf(tokens) : null, finish_reason: endedBy }));
    sendJson(response, { ...head, choices, usage });
  },
};
