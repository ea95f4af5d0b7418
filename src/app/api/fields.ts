/** Fields that both kinds of completion have, and what they mean for the model. */
import { randomInt } from "node:crypto";
import { z } from "zod";
import type { ServedRequest } from "../../index.ts";

/** Most answers to one prompt, texts of one request, stop strings, and likeliest tokens beside each. */
export const LIMITS = { answers: 64, texts: 256, stops: 16, top: 20 } as const;

/** A field whose only accepted values change nothing: anything else would be ignored in silence. */
function neutral(accepted: number): z.ZodOptional<z.ZodUnknown> {
  return z.unknown().refine((value) => value == null || value === accepted, { error: `expected ${accepted}: this server cannot do otherwise` }).optional();
}

const empty = z.unknown().refine((value) => value == null || (typeof value === "object" && Object.keys(value).length === 0), { error: "expected nothing: this server does not have it" }).optional();
const between = (min: number, max: number, kind = "number"): z.ZodNumber => {
  const wanted = `expected a ${kind} from ${min} to ${max}`;
  return z.number(wanted).min(min, wanted).max(max, wanted);
};
/** A whole number within bounds. */
export const whole = (min: number, max: number): z.ZodNumber => between(min, max, "whole number").int(`expected a whole number from ${min} to ${max}`);
const nonEmpty = z.string("expected a text").min(1, "expected some text");

export const commonFields = {
  model: z.string("expected the name of a model; GET /v1/models lists them"),
  max_tokens: whole(0, 1e6).nullish(),
  temperature: between(0, 100).nullish(),
  top_p: between(0, 1).nullish(),
  /** Beyond OpenAI's protocol: only the k likeliest tokens; 0 and -1: all. */
  top_k: whole(-1, 1e6).nullish(),
  n: whole(1, LIMITS.answers).nullish(),
  stop: z.union([nonEmpty, z.array(nonEmpty).max(LIMITS.stops)], `expected a text or a list of at most ${LIMITS.stops}`).nullish(),
  seed: z.int("expected a whole number").nullish(),
  stream: z.boolean("expected true or false").nullish(),
  stream_options: z.strictObject({ include_usage: z.boolean().nullish() }).nullish(),
  logit_bias: empty,
  presence_penalty: neutral(0),
  frequency_penalty: neutral(0),
  repetition_penalty: neutral(1),
  // What only the service of OpenAI makes something of.
  user: z.string().nullish(),
  metadata: z.unknown().optional(),
  store: z.unknown().optional(),
  service_tier: z.unknown().optional(),
} as const;

const commonSchema = z.object(commonFields);
export type CommonBody = z.output<typeof commonSchema>;

/** Sampling as the model takes it; without a seed one is drawn. */
export function samplingOf({ temperature, top_p: topP, top_k: topK, seed }: CommonBody): ServedRequest["sampling"] {
  return { temperature: temperature ?? 1, topP: topP ?? 1, topK: Math.max(0, topK ?? 0), seed: seed == null ? randomInt(2 ** 32) : Number(BigInt.asUintN(32, BigInt(seed))) };
}

export function stopsOf({ stop }: CommonBody): readonly string[] {
  return stop == null ? [] : typeof stop === "string" ? [stop] : stop;
}
