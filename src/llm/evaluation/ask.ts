/** Puts questions to a model: groups by what prompts begin with, reads that once, and hands each question what came back. */
import { FedtuneError, must } from "../../core/base/errors.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import { IGNORED_LABEL } from "../data/types.ts";
import { createStopFilter } from "../text/stop-filter.ts";
import type { ScoredText, Trainer } from "../training/types.ts";
import type { ChoiceQuestion, Judged, Judgement, Json, LossQuestion, Question, ScoredChoice, WrittenAnswer, WrittenQuestion } from "./benchmark.ts";
import { commonLength, fitShots, groupByShared, promptText, type PromptContext, type PromptGroup } from "./prompts.ts";

export interface AskContext extends PromptContext {
  readonly trainer: Trainer;
  /** Absent: the base. */
  readonly adapter: NamedTensors<"float32"> | undefined;
  readonly seed: number;
  /** Texts that grow together. */
  readonly batchSize: number;
  readonly judgesAtOnce: number;
  readonly signal: AbortSignal;
  /** Told how many questions are done. */
  readonly onProgress: (done: number) => void;
}

/** A question with everything that was said: what is written to the file of answers. */
export interface AskedQuestion extends Judged {
  readonly prompt: string;
  readonly outputs: readonly Json[];
}

/** Texts that are scored in one call: between two calls answers are handed on. */
const TEXTS_PER_CALL = 256;
/** Draws of one question lie this far from those of the next. */
const SAMPLES = 1 << 12;

/** Tokens of a prompt's end that an answer is decoded after. */
const END_TOKENS = 6;

const adapterOf = ({ adapter }: AskContext): { readonly adapter?: NamedTensors<"float32"> } => (adapter === undefined ? {} : { adapter });

/** Pieces of at most `size` elements. */
function* chunks<T>(list: readonly T[], size: number): Generator<readonly T[]> {
  for (let at = 0; at < list.length; at += size) yield list.slice(at, at + size);
}

/** A continuation cut off from its prompt: as tokens are joined across the boundary, it may begin before the prompt's last token ends. */
interface EncodedChoice {
  readonly before: Int32Array;
  readonly own: Int32Array;
}

function encodeChoices(question: ChoiceQuestion, { encode }: PromptGroup<ChoiceQuestion>, { benchmark, tokenizer }: AskContext): readonly EncodedChoice[] {
  const prompt = encode(question);
  return question.choices.map((choice) => {
    const alone = question.scoring === "last-token";
    const whole = alone ? Int32Array.of(...prompt, ...tokenizer.encode(choice, { addSpecialTokens: false }).slice(-1)) : encode(question, choice);
    const at = Math.min(prompt.length, whole.length - 1);
    if (at < 1) throw new FedtuneError("data", { where: `${benchmark}, ${question.id}`, expected: "a prompt and choices of at least one token each", got: JSON.stringify(promptText(question.prompt).slice(-40) + choice), remedy: "Mend or remove the question" });
    return { before: whole.subarray(0, at), own: whole.subarray(at) };
  });
}

async function* askChoices(questions: readonly ChoiceQuestion[], context: AskContext): AsyncGenerator<AskedQuestion> {
  let done = 0;
  for (const group of groupByShared(fitShots(questions, context), context)) {
    for (const part of chunks(group.questions, TEXTS_PER_CALL)) {
      const encoded = part.map((question) => encodeChoices(question, group, context));
      const length = commonLength(encoded.flat().map(({ before }) => before));
      const shared = encoded[0]?.[0]?.before.slice(0, length) ?? new Int32Array();
      const texts = encoded.map((choices): ScoredText => {
        // One token before every continuation stays with it: that is where its first token is predicted.
        const trunk = Math.max(length + 1, commonLength(choices.map(({ before }) => [...before, -1])));
        const ids = must(choices[0], "choice").before.slice(length, trunk);
        const branches = choices.map(({ before, own }) => {
          const rest = Int32Array.from([...before.subarray(trunk), ...own]);
          return { ids: rest, labels: rest.map((id, p) => (p < before.length - trunk ? IGNORED_LABEL : id)) };
        });
        return { ids, labels: new Int32Array(ids.length).fill(IGNORED_LABEL), branches };
      });
      const before = done;
      const results = await context.trainer.score({ ...adapterOf(context), shared, texts }, { signal: context.signal, onScored: (scored) => context.onProgress(before + scored) });
      for (const [i, question] of part.entries()) {
        const choices = must(results[i], "scores").branches.map((losses): ScoredChoice => ({ logLikelihood: -losses.reduce((a, b) => a + b, 0), tokens: losses.length }));
        const outputs = choices.map((choice, c) => ({ choice: question.choices[c] ?? "", ...choice }));
        yield { id: question.id, facts: question.facts, prompt: promptText(question.prompt), outputs, judgement: question.judge(choices) };
      }
      done += part.length;
    }
  }
}

async function* askLosses(questions: readonly LossQuestion[], context: AskContext): AsyncGenerator<AskedQuestion> {
  let done = 0;
  for (const part of chunks(questions, TEXTS_PER_CALL)) {
    const texts = part.map(({ ids, labels }): ScoredText => ({ ids: Int32Array.from(ids), labels: Int32Array.from(labels), branches: [] }));
    const before = done;
    const results = await context.trainer.score({ ...adapterOf(context), shared: new Int32Array(), texts }, { signal: context.signal, onScored: (scored) => context.onProgress(before + scored) });
    for (const [i, question] of part.entries()) {
      const { losses } = must(results[i], "scores");
      const prompt = context.tokenizer.decode(question.ids, { skipSpecialTokens: false });
      yield { id: question.id, facts: question.facts, prompt, outputs: [{ losses: losses.reduce((a, b) => a + b, 0), tokens: losses.length }], judgement: question.judge(losses) };
    }
    done += part.length;
  }
}

/** A question's prompt and the place that keys its random numbers. */
interface WrittenPrompt {
  readonly question: WrittenQuestion;
  readonly ids: Int32Array;
  readonly place: number;
}

/** An answer's text up to its stop string, and what ended it. */
function readAnswer(ids: Int32Array, { question, ids: prompt }: WrittenPrompt, { tokenizer }: AskContext): WrittenAnswer {
  const { stop, maxNewTokens } = question.sampling;
  const end = prompt.slice(-END_TOKENS);
  // Decoded after the prompt's end: a tokenizer that strips a text's first space is not to strip one in its middle.
  const decode = (list: Iterable<number>): string => tokenizer.decode([...list], { skipSpecialTokens: true });
  const whole = decode([...end, ...ids]).slice(decode(end).length);
  const filter = createStopFilter(stop);
  const text = filter.push(whole) + filter.finish();
  const endedBy = stop.some((s) => whole.includes(s)) ? "stop" : ids.length >= maxNewTokens ? "limit" : "end-token";
  return { text, newTokens: ids.length, endedBy };
}

async function* askWritten(all: readonly WrittenQuestion[], places: ReadonlyMap<string, number>, context: AskContext): AsyncGenerator<AskedQuestion> {
  let done = 0;
  const fitting = fitShots(all, context);
  // Rows of one call are drawn and ended alike.
  const bySampling = Map.groupBy(fitting, ({ sampling, samples }) => JSON.stringify([sampling, samples]));
  for (const group of [...bySampling.values()].flatMap((alike) => groupByShared(alike, context))) {
    const prompts = group.questions.map((question): WrittenPrompt => ({ question, ids: group.encode(question), place: must(places.get(question.id), "place") }));
    const length = commonLength(prompts.map(({ ids }) => ids));
    const shared = prompts[0]?.ids.slice(0, length) ?? new Int32Array();
    // Like lengths meet: shorter prompts are padded.
    prompts.sort((a, b) => a.ids.length - b.ids.length || a.place - b.place);
    const { sampling, samples } = must(group.questions[0], "question");
    for (const part of chunks(prompts, Math.max(1, Math.floor(context.batchSize / samples)))) {
      const rows = part.flatMap((prompt) => Array.from({ length: samples }, (_, sample) => ({ ids: prompt.ids.subarray(length), draw: prompt.place * SAMPLES + sample })));
      const texts = await context.trainer.generate(
        { ...adapterOf(context), shared, prompts: rows.map(({ ids }) => ids), draws: rows.map(({ draw }) => draw), options: { ...sampling, seed: context.seed, stopAtEnd: true } },
        { signal: context.signal },
      );
      const answered = part.map((prompt, i) => ({ prompt, answers: texts.slice(i * samples, (i + 1) * samples).map((ids) => readAnswer(ids, prompt, context)) }));
      const judgements = await mapLimited(answered, context.judgesAtOnce, async ({ prompt, answers }): Promise<Judgement> => {
        const judgement = await prompt.question.judge(answers, { signal: context.signal });
        context.onProgress(++done);
        return judgement;
      });
      for (const [i, { prompt: { question }, answers }] of answered.entries()) {
        yield { id: question.id, facts: question.facts, prompt: promptText(question.prompt), outputs: answers.map((answer) => ({ ...answer })), judgement: must(judgements[i], "judgement") };
      }
    }
  }
}

/** Results of an asynchronous function, of which at most `limit` run at a time. */
async function mapLimited<T, R>(list: readonly T[], limit: number, work: (item: T) => Promise<R>): Promise<readonly R[]> {
  const results: R[] = [];
  const entries = list.entries();
  const run = async (): Promise<void> => {
    for (const [i, item] of entries) results[i] = await work(item);
  };
  await Promise.all(Array.from({ length: Math.max(1, Math.min(limit, list.length)) }, run));
  return results;
}

/**
 * Asks all questions, kind by kind. Yields each when it is judged; those of equal shared text follow each other.
 * @param places by question: what keys its random numbers
 * @throws FedtuneError("config") for prompts that do not fit the context, ("interrupted") once the signal is aborted
 */
export async function* ask(questions: readonly Question[], places: ReadonlyMap<string, number>, context: AskContext): AsyncGenerator<AskedQuestion> {
  let before = 0;
  const counted = (): AskContext => {
    const offset = before;
    return { ...context, onProgress: (done) => context.onProgress(offset + done) };
  };
  const choices = questions.filter((question) => question.kind === "choice");
  yield* askChoices(choices, counted());
  before += choices.length;
  const losses = questions.filter((question) => question.kind === "loss");
  yield* askLosses(losses, counted());
  before += losses.length;
  yield* askWritten(questions.filter((question) => question.kind === "written"), places, counted());
}
