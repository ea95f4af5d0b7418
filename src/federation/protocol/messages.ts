/** What coordinator and clients say to each other, as schemas and types. How it becomes bytes is `encode.ts`; how it travels is left to transports. */
import { z } from "zod";
import { EXIT_CODES, type ErrorCode } from "../../core/base/errors.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";

/** Version of the messages; a peer that speaks another is refused. */
export const PROTOCOL_VERSION = 1;

const count = z.int().nonnegative();
const version = z.literal(PROTOCOL_VERSION);
// Object.keys forgets the literal types of the table's keys.
const errorCodes = Object.keys(EXIT_CODES) as [ErrorCode, ...ErrorCode[]];

export const taskHeaderSchema = z.strictObject({
  version,
  kind: z.literal("task"),
  /** Round, from 1. */
  round: z.int().positive(),
  client: count,
  /** Optimiser steps to take; 0 is allowed and returns the adapter as it came. */
  steps: count,
  /** Steps of the schedule before this round, and its whole length. */
  stepsDone: count,
  totalSteps: count,
});

export const updateHeaderSchema = z.strictObject({
  version,
  kind: z.literal("update"),
  round: z.int().positive(),
  client: count,
  /** Training examples that the client holds, and their tokens: what averages are weighted by. */
  heldExamples: count,
  heldTokens: count,
  /** Examples and tokens (no padding) consumed in this round. */
  examples: count,
  tokens: count,
  steps: count,
  skippedSteps: count,
  /** Mean over the steps of the mean loss per labelled token (nats); null where no step had a finite one. */
  loss: z.number().nullable(),
});

export const failureSchema = z.strictObject({
  version,
  kind: z.literal("failure"),
  round: z.int().positive(),
  client: count,
  code: z.enum(errorCodes),
  reason: z.string().max(2000),
});

/** A client's work in one round: steps to take from an adapter. */
export type Task = Readonly<z.infer<typeof taskHeaderSchema>> & { readonly adapter: NamedTensors<"float32"> };
/** What a client returns: the tensors that its strategy lets out, and counts. */
export type Update = Readonly<z.infer<typeof updateHeaderSchema>> & { readonly adapter: NamedTensors<"float32"> };
/** A client that could not do its task; a reply like any other. */
export type FailureReply = Readonly<z.infer<typeof failureSchema>>;
export type Reply = Update | FailureReply;
export type Message = Task | Reply;
