/** Prompts as token ids: with the bos, with as many demonstrations as fit, and with what many of them begin with told apart. */
import { FedtuneError } from "../../core/base/errors.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { BenchmarkContext, ChoiceQuestion, Prompt, WrittenQuestion } from "./benchmark.ts";

export interface PromptContext extends Pick<BenchmarkContext, "tokenizer" | "contextTokens"> {
  /** Whether a bos goes first where the model has one, or only where its tokenizer adds one. */
  readonly bos: "always" | "as-tokenizer";
  /** The benchmark, for messages. */
  readonly benchmark: string;
}

/** The text that questions share. */
function sharedText({ header, shots }: Prompt): string {
  return header + shots.join("");
}

/** The whole text of a prompt. */
export function promptText(prompt: Prompt): string {
  return sharedText(prompt) + prompt.own;
}

/** Token ids of a text from its beginning. */
export function encodeText(text: string, { tokenizer, bos }: Pick<PromptContext, "tokenizer" | "bos">): Int32Array {
  const { bosId } = tokenizer;
  const ids = tokenizer.encode(text, { addSpecialTokens: false });
  const wanted = bosId !== undefined && (bos === "always" || tokenizer.addsBos) && ids[0] !== bosId;
  return wanted ? Int32Array.of(bosId, ...ids) : ids;
}

/** A space between two words: no tokenizer's pieces reach across it from the left, so that text may be cut before it. */
const BETWEEN_WORDS = /(?<=[\p{L}\p{N}]) (?=[\p{L}\p{N}])/gu;
/** Texts that a cut is tried on. */
const TRIALS = 2;

/** Encodes texts of one beginning: that is encoded once where the tokenizer lets it be, which the first texts show. */
export class GroupEncoder {
  readonly #context: Pick<PromptContext, "tokenizer" | "bos">;
  readonly #shared: string;
  readonly #cut: number;
  readonly #begin: Int32Array;
  #trials = 0;
  #whole: boolean;

  constructor(shared: string, context: Pick<PromptContext, "tokenizer" | "bos">) {
    this.#context = context;
    this.#shared = shared;
    this.#cut = [...shared.matchAll(BETWEEN_WORDS)].at(-1)?.index ?? 0;
    this.#whole = this.#cut === 0;
    this.#begin = this.#whole ? new Int32Array() : encodeText(shared.slice(0, this.#cut), context);
  }

  /** Token ids of the beginning and what follows it, as `encodeText` of both. */
  encode(rest: string): Int32Array {
    if (this.#whole) return encodeText(this.#shared + rest, this.#context);
    const end = this.#context.tokenizer.encode(this.#shared.slice(this.#cut) + rest, { addSpecialTokens: false });
    const ids = new Int32Array(this.#begin.length + end.length);
    ids.set(this.#begin);
    ids.set(end, this.#begin.length);
    if (this.#trials >= TRIALS) return ids;
    this.#trials++;
    const known = encodeText(this.#shared + rest, this.#context);
    this.#whole = known.length !== ids.length || known.some((id, i) => id !== ids[i]);
    return known;
  }
}

/** Tokens that texts encoded together may have beyond the sum of their own: joints hardly ever cost one. */
const JOINT_TOKENS = 16;

/** Number of tokens of texts that many prompts have. */
class LengthOf {
  readonly #tokenizer: Tokenizer;
  readonly #known = new Map<string, number>();

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  of(text: string): number {
    let length = this.#known.get(text);
    if (length === undefined) {
      length = this.#tokenizer.encode(text, { addSpecialTokens: false }).length;
      this.#known.set(text, length);
    }
    return length;
  }
}

type Prompted = WrittenQuestion | ChoiceQuestion;

/**
 * The questions with as many demonstrations as fit their own limit, and the context beside the answer.
 * @throws FedtuneError("config") where that is fewer than all and the question does not allow it, with the number that fits every question
 */
export function fitShots<Q extends Prompted>(questions: readonly Q[], context: PromptContext): readonly Q[] {
  const lengths = new LengthOf(context.tokenizer);
  const answerTokens = (question: Prompted): number => (question.kind === "written" ? question.sampling.maxNewTokens : Math.max(0, ...question.choices.map((choice) => lengths.of(choice))));
  const withShots = (prompt: Prompt, shots: number): Prompt => ({ ...prompt, shots: prompt.shots.slice(0, shots) });
  const isWithin = (prompt: Prompt, room: number): boolean => {
    // The sum of the parts is quick to have; only near the limit is the whole encoded.
    const most = JOINT_TOKENS + lengths.of(sharedText(prompt)) + context.tokenizer.encode(prompt.own, { addSpecialTokens: false }).length;
    return most <= room || encodeText(promptText(prompt), context).length <= room;
  };
  const allowed = ({ prompt }: Prompted): number => {
    const { limit } = prompt;
    let shots = prompt.shots.length;
    if (limit === undefined) return shots;
    const isAllowed = (cut: Prompt): boolean => (limit.unit === "tokens" ? isWithin(cut, limit.most) : Array.from(promptText(cut)).length <= limit.most);
    while (shots > 0 && !isAllowed(withShots(prompt, shots))) shots--;
    return shots;
  };
  const most = (question: Prompted): number => {
    let shots = allowed(question);
    while (shots >= 0 && !isWithin(withShots(question.prompt, shots), context.contextTokens - answerTokens(question))) shots--;
    return shots;
  };
  return questions.map((question) => {
    const shots = most(question);
    if (shots === question.prompt.shots.length) return question;
    if (shots < 0 || (question.prompt.overflow === "error" && shots < allowed(question))) throw tooLong(question, { context, answer: answerTokens(question), most: () => Math.min(...questions.map(most)) });
    return { ...question, prompt: withShots(question.prompt, shots) };
  });
}

function tooLong(question: Prompted, { context, answer, most }: { readonly context: PromptContext; readonly answer: number; readonly most: () => number }): FedtuneError {
  const { benchmark, contextTokens } = context;
  const count = question.prompt.shots.length;
  const fitting = most();
  const remedies = [
    ...(fitting >= 0 && fitting < count ? [`Set ${benchmark}.shots=${fitting}, which fits every question, or ${benchmark}.overflow=drop-shots`] : []),
    ...(fitting < 0 && question.kind === "written" ? [`Lower ${benchmark}.max_new_tokens, or take a model of a longer context`] : []),
    ...(fitting < 0 && question.kind === "choice" ? ["Take a model of a longer context, or leave the question out"] : []),
  ];
  return new FedtuneError("config", {
    where: `${benchmark}, ${question.id}`,
    expected: `prompts with ${count} demonstrations within the model's ${contextTokens} tokens, ${answer} of them for the answer`,
    got: `${encodeText(promptText(question.prompt), context).length} tokens of prompt`,
    remedy: remedies.join(". "),
    details: { benchmark, question: question.id, fitting },
  });
}

/** How many ids at the beginning all sequences have in common, at most one less than the shortest has. */
export function commonLength(sequences: readonly ArrayLike<number>[]): number {
  const [first] = sequences;
  if (first === undefined) return 0;
  let length = Math.min(...sequences.map((ids) => ids.length)) - 1;
  for (const ids of sequences) {
    let at = 0;
    while (at < length && ids[at] === first[at]) at++;
    length = at;
  }
  return Math.max(0, length);
}

/** Questions that begin alike, and a way to encode them. */
export interface PromptGroup<Q extends Prompted> {
  readonly questions: readonly Q[];
  /** Token ids of a question's prompt, and of a text after it. */
  readonly encode: (question: Q, after?: string) => Int32Array;
}

/** Questions by what they begin with; those that share it with nobody are one group. */
export function groupByShared<Q extends Prompted>(questions: readonly Q[], context: Pick<PromptContext, "tokenizer" | "bos">): readonly PromptGroup<Q>[] {
  const groups = [...Map.groupBy(questions, ({ prompt }) => sharedText(prompt))];
  const alone = groups.flatMap(([, group]) => (group.length === 1 ? group : []));
  const together = groups.filter(([, group]) => group.length > 1).map(([shared, group]): PromptGroup<Q> => {
    const encoder = new GroupEncoder(shared, context);
    return { questions: group, encode: ({ prompt }, after = "") => encoder.encode(prompt.own + after) };
  });
  return [...together, ...(alone.length > 0 ? [{ questions: alone, encode: ({ prompt }: Q, after = "") => encodeText(promptText(prompt) + after, context) }] : [])];
}
