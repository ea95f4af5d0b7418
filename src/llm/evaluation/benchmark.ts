/**
 * What a benchmark is to the rest: a schema of settings, and from the settings questions that know how to judge their
 * answers. One file per benchmark, listed in `all.ts`. How questions are put to a model is the runner's part.
 */
import type { z } from "zod";
import type { Tokenizer } from "../text/tokenizer.ts";

/** A value that JSON can hold. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** What a benchmark is opened with. */
export interface BenchmarkContext {
  /** Of the model that is judged. */
  readonly tokenizer: Tokenizer;
  /** Tokens that a prompt and its answer may have together: the model's positions less those of an adapter's virtual tokens. */
  readonly contextTokens: number;
  /** Folder that paths in the settings are relative to. */
  readonly baseFolder: string;
  /** Keys every random choice, such as an order of demonstrations. */
  readonly seed: number;
  readonly signal?: AbortSignal;
}

/** A prompt in parts; the model is given header, shots and own text joined, after the bos where it has one. */
export interface Prompt {
  /** Stands before the demonstrations; may be empty. */
  readonly header: string;
  /** Demonstrations, each with the text that separates it from what follows. Questions of equal header and shots share the work on them. */
  readonly shots: readonly string[];
  /** The question's own text. */
  readonly own: string;
  /** Where all shots do not fit the model's context: an error that says how many do, or the last ones are dropped one at a time. */
  readonly overflow: "error" | "drop-shots";
  /** The last shots are also dropped while the whole text is longer than this, whatever the model has room for; without shots it may be longer. */
  readonly limit?: { readonly most: number; readonly unit: "tokens" | "characters" };
}

/** How answers are drawn and where they end. */
export interface Sampling {
  readonly maxNewTokens: number;
  /** 0: greedy. */
  readonly temperature: number;
  /** 0: all tokens. */
  readonly topK: number;
  /** 1: all tokens. */
  readonly topP: number;
  /** Texts that end an answer; they are not part of it. */
  readonly stop: readonly string[];
}

/** What was found in an answer. */
export interface Judgement {
  /** What was read from it: a number, a letter, the outcome of a test. */
  readonly parsed: Json;
  /** Measures by name: 1 or 0 for right or wrong, an F1, a loss. */
  readonly scores: Readonly<Record<string, number>>;
  /** Why the question is left out of the figures (a toolchain that is not installed); absent: it counts. */
  readonly skipped?: string;
}

interface QuestionBase {
  /** Unique within the benchmark and the same in every run, such as `test/17`. */
  readonly id: string;
  /** What is known of the question and written beside its answer: the right answer, its category, its client. */
  readonly facts: Readonly<Record<string, Json>>;
}

/** One answer as it was written. */
export interface WrittenAnswer {
  /** Without prompt, end token and the stop string that ended it. */
  readonly text: string;
  readonly newTokens: number;
  /** What ended it: the end token, a stop string, or the limit of new tokens. */
  readonly endedBy: "end-token" | "stop" | "limit";
}

/** A question that the model answers in its own words. */
export interface WrittenQuestion extends QuestionBase {
  readonly kind: "written";
  readonly prompt: Prompt;
  readonly sampling: Sampling;
  /** How many answers are drawn; each has random numbers of its own, whatever the batch. */
  readonly samples: number;
  /** Judges all answers together; may run elsewhere. A rejection ends the evaluation: what is the answer's fault is a judgement. */
  readonly judge: (answers: readonly WrittenAnswer[], options: { readonly signal: AbortSignal }) => Judgement | Promise<Judgement>;
}

/** How likely a text is after a prompt. */
export interface ScoredChoice {
  /** Natural logarithm of the probability of all its tokens. */
  readonly logLikelihood: number;
  readonly tokens: number;
}

/** A question whose given answers are compared by likelihood. */
export interface ChoiceQuestion extends QuestionBase {
  readonly kind: "choice";
  readonly prompt: Prompt;
  /** Continuations of the prompt, a leading space included. */
  readonly choices: readonly string[];
  /** continuation: all tokens of prompt and choice together that lie behind the prompt. last-token: the last token of the choice encoded by itself, put behind the prompt's tokens. Default: continuation. */
  readonly scoring?: "continuation" | "last-token";
  readonly judge: (choices: readonly ScoredChoice[]) => Judgement;
}

/** A text whose labelled tokens are judged by their loss. */
export interface LossQuestion extends QuestionBase {
  readonly kind: "loss";
  /** Token ids, and labels of the same length: the id where the token counts, else IGNORED_LABEL. */
  readonly ids: ArrayLike<number>;
  readonly labels: ArrayLike<number>;
  /** @param losses nats of each labelled token that something predicts, in order */
  readonly judge: (losses: Float32Array) => Judgement;
}

export type Question = WrittenQuestion | ChoiceQuestion | LossQuestion;

/** A question after it was answered. */
export interface Judged {
  readonly id: string;
  readonly facts: Readonly<Record<string, Json>>;
  readonly judgement: Judgement;
}

/** A measured value with its 95 % confidence interval. */
export interface Figure {
  /** What was measured: `accuracy`, `perplexity`, `pass@1`. */
  readonly name: string;
  /** The part that it was measured on, as kind and name: `category` `STEM`. Absent: everything. */
  readonly group?: { readonly kind: string; readonly name: string };
  /** A share lies between 0 and 1 and is shown in percent. */
  readonly unit: "share" | "number";
  /** Which of two values is the better one. Absent: the higher. */
  readonly better?: "higher" | "lower";
  readonly value: number;
  readonly low: number;
  readonly high: number;
  /** How the interval was made. */
  readonly interval: "wilson" | "normal" | "bootstrap";
  /** Questions that it rests on. */
  readonly questions: number;
}

/** A benchmark with its settings and data, ready to be asked. */
export interface OpenedBenchmark {
  /** All questions, in the order of the data; a limit takes a sample of them. */
  readonly questions: readonly Question[];
  /** The figures of those that were answered and not skipped; the first is the benchmark's headline. */
  readonly figures: (judged: readonly Judged[]) => readonly Figure[];
  /** Judgements of written answers that may run at the same time. Default: 1. */
  readonly judgesAtOnce?: number;
  /** What a reader of the figures must know, asked for at the end: walls that were missing, toolchains that were not there. */
  readonly notes?: () => readonly string[];
  /** Frees what was opened; called once, also after an error. */
  readonly close?: () => Promise<void>;
}

/** A benchmark, named by the identifier that the command line uses. */
export interface Benchmark<Settings = unknown> {
  /** One line for lists. */
  readonly summary: string;
  /** Whether it asks rows that `path` names: an experiment gives it its own held-out rows. */
  readonly onRows?: true;
  /** Strict object of the settings, each with its default and description. */
  readonly schema: z.ZodType<Settings>;
  /** Reads the data and makes the questions. Throws FedtuneError("data") or ("config") by name with the remedy. */
  readonly open: (settings: Settings, context: BenchmarkContext) => Promise<OpenedBenchmark>;
}
