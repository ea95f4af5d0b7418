/** What a trainer is asked and what it answers: plain data, so that it can live in another thread, process or machine. */
import type { NamedTensors } from "../../core/base/tensor.ts";
import type { ErrorCode } from "../../core/base/errors.ts";
import type { AdapterFolderTensors } from "../adapters/adapter-folder.ts";
import type { SamplingOptions } from "./sampling.ts";

/** One client's local training within one round. */
export interface TrainJob {
  /** Index of the client; keys its random numbers. */
  readonly client: number;
  /** Round, from 1; keys the random numbers. */
  readonly round: number;
  /** Optimiser steps to take. */
  readonly steps: number;
  /** Steps that this client's schedule has behind it at the start of this job, and the schedule's whole length. */
  readonly stepsDone: number;
  readonly totalSteps: number;
  /** Adapter to start from: float32 tensors by PEFT name. */
  readonly adapter: NamedTensors<"float32">;
  /** Optimiser state to start from (moments carried on); absent: from zero. */
  readonly optimizer?: NamedTensors<"float32">;
  /** Training examples of the client, as indices into the trainer's data set. */
  readonly examples: Int32Array;
}

/** Told after each optimiser step of a job. */
export interface StepReport {
  readonly client: number;
  readonly round: number;
  /** Step within the job, from 1. */
  readonly step: number;
  /** Mean loss over the labelled tokens of the step (nats per token); NaN where the step was skipped. */
  readonly loss: number;
  readonly learningRate: number;
  /** Global norm of the gradient before clipping. */
  readonly gradientNorm: number;
  /** Whether the step was left out because loss or gradient was not finite. */
  readonly skipped: boolean;
  readonly examples: number;
  /** Tokens that are not padding. */
  readonly tokens: number;
  /** Bytes that the group's step copied between the host and the device's own memory; absent where the device has none. */
  readonly copiedBytes?: number;
  /** What the loss was multiplied by in float16, after any step that overflowed was made again with less; absent in other dtypes. */
  readonly lossScale?: number;
}

export interface TrainSuccess {
  readonly ok: true;
  readonly adapter: NamedTensors<"float32">;
  /** Optimiser state after the last step, for moments that are carried on. */
  readonly optimizer: NamedTensors<"float32">;
  readonly steps: number;
  readonly skippedSteps: number;
  /** Examples and tokens (no padding) consumed over all steps. */
  readonly examples: number;
  readonly tokens: number;
  /** Mean over steps of the mean loss. */
  readonly loss: number;
}

/** A failed client is a reply, not an exception. */
export interface TrainFailure {
  readonly ok: false;
  readonly code: ErrorCode;
  readonly reason: string;
}

export type TrainResult = TrainSuccess | TrainFailure;

/** Loss of one adapter on one set of examples. */
export interface EvaluateJob {
  /** Absent: the base without an adapter. */
  readonly adapter?: NamedTensors<"float32">;
  readonly examples: Int32Array;
}

export interface EvaluateResult {
  /** Summed negative log-likelihood of the labelled tokens (nats) and their number. */
  readonly nll: number;
  readonly labelledTokens: number;
  readonly examples: number;
  readonly tokens: number;
}

/** How the next token is chosen and when to stop. */
export interface GenerateOptions {
  readonly maxNewTokens: number;
  /** 0: greedy. */
  readonly temperature: number;
  /** 0: all tokens. */
  readonly topK: number;
  /** 1: all tokens. */
  readonly topP: number;
  readonly stop: readonly string[];
  readonly seed: number;
  /** Whether the end token ends a text (the default of every command; goldens switch it off). */
  readonly stopAtEnd: boolean;
}

export interface GenerateJob {
  /** Absent: the base without an adapter. */
  readonly adapter?: NamedTensors<"float32">;
  /** In place of `adapter`: one for each prompt, null for the base; rows of different adapters share the pass over the base. */
  readonly adapters?: readonly (NamedTensors<"float32"> | null)[];
  /** Token ids of each prompt. */
  readonly prompts: readonly Int32Array[];
  /** Token ids that stand before every prompt: what the model makes of them is computed once and kept for the next call. Not with `adapters`. */
  readonly shared?: Int32Array;
  /** What keys each prompt's random numbers; absent: its place. */
  readonly draws?: readonly number[];
  readonly options: GenerateOptions;
}

/** Token ids with labels of the same length, as EncodedDataset has them. */
export interface LabelledIds {
  readonly ids: Int32Array;
  readonly labels: Int32Array;
}

/** A text and its continuations, each of which sees the text but no other continuation. */
export interface ScoredText extends LabelledIds {
  readonly branches: readonly LabelledIds[];
}

/** Losses of single tokens. */
export interface ScoreJob {
  /** Absent: the base without an adapter. */
  readonly adapter?: NamedTensors<"float32">;
  /** Token ids that stand before every text; their keys and values are computed once and kept for the next call. */
  readonly shared: Int32Array;
  readonly texts: readonly ScoredText[];
}

/** Losses (nats) of a text's labelled tokens but the first, in their order, and of each branch's labelled tokens. */
export interface ScoreResult {
  readonly losses: Float32Array;
  readonly branches: readonly Float32Array[];
}

/** A text that begins to grow, beside those that already do. */
export interface TextToGrow {
  /** What its caller calls it. */
  readonly id: number;
  /** Token ids, at least one. */
  readonly prompt: Int32Array;
  /** Name of an adapter that this or an earlier job brought; null: the base. */
  readonly adapter: string | null;
  readonly sampling: SamplingOptions;
  /** With the seed and the place in the text: keys its random numbers. */
  readonly draw: number;
  /** Whether the prompt's tokens are wanted with their log-probabilities. */
  readonly scorePrompt: boolean;
  /** Likeliest tokens that are wanted beside each token. */
  readonly top: number;
  /** Whether it ends after its first token. */
  readonly once: boolean;
}

/** One step of all texts that grow. */
export interface GrowJob {
  /** Adapters to remember, by name. */
  readonly adapters: Readonly<Record<string, NamedTensors<"float32">>>;
  /** Texts that go on no more. Unknown ones are no fault. */
  readonly drop: readonly number[];
  readonly admit: readonly TextToGrow[];
}

/** A token with the model's log-probability for it (nats, before temperature and cuts), and the likeliest at its place. */
export interface ScoredToken {
  readonly token: number;
  readonly logProbability: number;
  /** The likeliest first. */
  readonly top: readonly { readonly token: number; readonly logProbability: number }[];
}

/** What one step gave to one text. */
export interface GrownText {
  readonly id: number;
  /** The next token, end tokens included. */
  readonly next: ScoredToken;
  /** Of a text that was just admitted and wants it: the prompt's tokens but the first. */
  readonly prompt?: readonly ScoredToken[];
}

/** A model with its data, ready to train, evaluate and generate; the heavy work runs off the caller's thread. */
export interface Trainer extends AsyncDisposable {
  /** The adapter that training starts from, drawn from the seed: float32 tensors by PEFT name. */
  initialAdapter(): Promise<NamedTensors<"float32">>;
  /** What is written of an adapter to its folder. */
  savedAdapter(adapter: NamedTensors<"float32">): Promise<AdapterFolderTensors>;
  /**
   * Trains the clients of one group side by side, in the order given. Never rejects for a client's fault.
   * Rejects with an `interrupted` FedtuneError once `signal` is aborted, after the running step.
   */
  train(jobs: readonly TrainJob[], options: { readonly onStep?: (report: StepReport) => void; readonly signal?: AbortSignal }): Promise<readonly TrainResult[]>;
  evaluate(jobs: readonly EvaluateJob[], options: { readonly signal?: AbortSignal }): Promise<readonly EvaluateResult[]>;
  /** Losses of the labelled tokens of each text; `onScored` is told how many texts are done. */
  score(job: ScoreJob, options: { readonly onScored?: (done: number) => void; readonly signal?: AbortSignal }): Promise<readonly ScoreResult[]>;
  /**
   * Gives each text that grows its next token: those admitted before in one pass, new ones after their prompts are read.
   * After an error none is left.
   */
  grow(job: GrowJob, options: { readonly signal?: AbortSignal }): Promise<readonly GrownText[]>;
  /** New token ids of each prompt, without the prompt; `onToken` sees each token as it comes. */
  generate(job: GenerateJob, options: { readonly onToken?: (row: number, id: number) => void; readonly signal?: AbortSignal }): Promise<readonly Int32Array[]>;
}
