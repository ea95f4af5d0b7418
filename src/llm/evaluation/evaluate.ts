/** Judges a model by benchmarks: opens it once, asks a fixed sample of each one's questions, writes every answer and gives the figures. */
import { totalmem } from "node:os";
import { join } from "node:path";
import { didYouMean, FedtuneError, interrupted, must } from "../../core/base/errors.ts";
import { permutation, randomKey } from "../../core/base/random.ts";
import { writeFileAtomic } from "../../core/store/files.ts";
import { BENCHMARKS } from "./all.ts";
import { AnswerFile } from "./answer-file.ts";
import { ask } from "./ask.ts";
import type { Benchmark, Figure, Judged, Question } from "./benchmark.ts";
import { openJudgedModel, type JudgedModel, type JudgedModelOptions } from "./open-model.ts";
import type { PromptContext } from "./prompts.ts";
import { checkSettings } from "./settings.ts";

/** A benchmark to be asked. */
export interface BenchmarkRequest {
  readonly name: string;
  /** Settings by the benchmark's schema; what is left out has its default. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** What is asked of a model that is open. */
export interface AskOptions {
  /** Asks a sample of so many questions, the same ones every time; absent: all. A smaller sample is part of a larger one. */
  readonly limit?: number;
  /** Keys every draw. Default: 0. */
  readonly seed?: number;
  /** Answers that are written together; absent: as many as memory allows, at most 32. */
  readonly batchSize?: number;
  /** Whether a bos goes before every prompt where the model has one (as in training), or only where its tokenizer adds one. Default: always. */
  readonly bos?: PromptContext["bos"];
  /** Folder that paths in settings are relative to; default: the working directory. */
  readonly baseFolder?: string;
  /** Folder that gets `BENCHMARK.jsonl` and `BENCHMARK.json`; absent: nothing is written. */
  readonly out?: string;
}

export interface EvaluateOptions extends AskOptions, JudgedModelOptions {
  readonly benchmarks: readonly BenchmarkRequest[];
}

export interface EvaluationProgress {
  readonly benchmark: string;
  readonly done: number;
  readonly total: number;
}

export interface EvaluationListener {
  readonly onProgress?: (progress: EvaluationProgress) => void;
  /** Sees each benchmark's result as soon as it is there. */
  readonly onResult?: (result: BenchmarkResult) => void;
  readonly signal?: AbortSignal;
}

export interface BenchmarkResult {
  readonly benchmark: string;
  /** As resolved: every default written out. */
  readonly settings: unknown;
  /** Questions that the benchmark has, that were asked, and that the figures rest on. */
  readonly questions: number;
  readonly asked: number;
  readonly counted: number;
  readonly skipped: readonly { readonly reason: string; readonly questions: number }[];
  /** The first is the headline. */
  readonly figures: readonly Figure[];
  readonly notes: readonly string[];
  /** File with one JSON line for every question: prompt, outputs, what was read from them. Absent where nothing is written. */
  readonly answers?: string;
}

/** The benchmark of a name. Throws FedtuneError("config") with the nearest name. */
export function findBenchmark(name: string): Benchmark {
  const found = Object.entries(BENCHMARKS).find(([key]) => key === name)?.[1];
  // Its settings are checked by its own schema before it sees them, so the general form is safe to call.
  if (found !== undefined) return found as unknown as Benchmark;
  const names = Object.keys(BENCHMARKS);
  throw new FedtuneError("config", { where: "benchmark", expected: `one of ${names.join(", ")}`, got: `\`${name}\``, remedy: didYouMean(name, names) || "See `fedtune evaluate --list`" });
}

/** A fixed sample of questions in their own order. */
function sampleOf(questions: readonly Question[], limit: number | undefined): readonly Question[] {
  if (limit === undefined || limit >= questions.length) return questions;
  const chosen = permutation(randomKey(0, "evaluation sample"), [], questions.length).slice(0, limit).sort();
  return Array.from(chosen, (i) => must(questions[i], "question"));
}

/** Texts that may grow together: an eighth of the memory for keys and values, 32 at most. */
function resolveBatchSize({ cacheBytesPerToken, contextTokens }: JudgedModel): number {
  return Math.max(1, Math.min(32, Math.floor(totalmem() / 8 / (cacheBytesPerToken * Math.min(contextTokens, 2048)))));
}

function countReasons(judged: readonly Judged[]): BenchmarkResult["skipped"] {
  const reasons = Map.groupBy(judged.filter(({ judgement }) => judgement.skipped !== undefined), ({ judgement }) => judgement.skipped ?? "");
  return [...reasons].map(([reason, part]) => ({ reason, questions: part.length }));
}

/**
 * Asks a model that is open one benchmark.
 * @throws FedtuneError("config" or "data") for settings, data and prompts that do not fit, ("interrupted") once the signal is aborted
 */
export async function askBenchmark(model: JudgedModel, { name, settings: given = {} }: BenchmarkRequest, options: AskOptions = {}, { onProgress, signal = new AbortController().signal }: EvaluationListener = {}): Promise<BenchmarkResult> {
  const benchmark = findBenchmark(name);
  const settings = checkSettings(name, benchmark.schema, given);
  const { seed = 0, bos = "always", baseFolder = process.cwd(), out } = options;
  const { tokenizer, contextTokens, trainer, adapter } = model;
  const opened = await benchmark.open(settings, { tokenizer, contextTokens, baseFolder, seed, signal });
  try {
    const places = new Map(opened.questions.map(({ id }, place) => [id, place]));
    if (places.size < opened.questions.length) throw new Error(`${name}: two questions have one id`);
    const questions = sampleOf(opened.questions, options.limit);
    const context = {
      benchmark: name, tokenizer, contextTokens, bos, trainer, adapter, seed, signal, batchSize: options.batchSize ?? resolveBatchSize(model), judgesAtOnce: opened.judgesAtOnce ?? 1,
      onProgress: (done: number) => onProgress?.({ benchmark: name, done, total: questions.length }),
    };
    using file = out === undefined ? undefined : new AnswerFile(out, name);
    onProgress?.({ benchmark: name, done: 0, total: questions.length });
    const judged: Judged[] = [];
    for await (const asked of ask(questions, places, context)) {
      file?.add(asked);
      judged.push({ id: asked.id, facts: asked.facts, judgement: asked.judgement });
      if (signal.aborted) throw interrupted(name);
    }
    judged.sort((a, b) => (places.get(a.id) ?? 0) - (places.get(b.id) ?? 0));
    const counted = judged.filter(({ judgement }) => judgement.skipped === undefined);
    const result: BenchmarkResult = {
      benchmark: name, settings, questions: opened.questions.length, asked: judged.length, counted: counted.length, skipped: countReasons(judged),
      figures: counted.length === 0 ? [] : opened.figures(counted), notes: opened.notes?.() ?? [], ...(file === undefined ? {} : { answers: file.path }),
    };
    if (out !== undefined) writeFileAtomic(join(out, `${name}.json`), `${JSON.stringify(result, null, 2)}\n`);
    return result;
  } finally {
    await opened.close?.();
  }
}

/**
 * Judges a model, under an adapter where one is given, by benchmarks one after the other. Names and settings of all are
 * checked before the model is opened.
 * @throws FedtuneError as `askBenchmark`, ("model") for a model or adapter that does not fit
 */
export async function evaluate(options: EvaluateOptions, listener: EvaluationListener = {}): Promise<readonly BenchmarkResult[]> {
  for (const { name, settings = {} } of options.benchmarks) checkSettings(name, findBenchmark(name).schema, settings);
  await using model = await openJudgedModel(options, listener.signal);
  const results: BenchmarkResult[] = [];
  for (const request of options.benchmarks) {
    const result = await askBenchmark(model, request, options, listener);
    listener.onResult?.(result);
    results.push(result);
  }
  return results;
}
