/**
 * Response selection: a row's own response against those of other rows, "1 in N recall@1" (Lowe et al. 2015, arXiv 1506.08909).
 * Which responses stand beside which, and where the right one stands, is drawn without regard to seed, model or run.
 */
import { z } from "zod";
import { FedtuneError, must } from "../../../core/base/errors.ts";
import { randomKey, uniforms } from "../../../core/base/random.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { Benchmark, Question } from "../benchmark.ts";
import { likeliest, normalisationField } from "../likelihood.ts";
import { openRows, promptFields, promptsOf, rowsAre, type AskedPrompt } from "../rows.ts";
import { byGroup, proportion } from "../statistics.ts";

const DISTRACTORS = 3;
const MAX_RESPONSE_TOKENS = 128;

const schema = z.strictObject({
  ...promptFields,
  distractors: z.int().positive().default(DISTRACTORS).describe("responses of other rows that stand beside a row's own"),
  normalisation: normalisationField("tokens"),
  max_response_tokens: z.int().positive().default(MAX_RESPONSE_TOKENS).describe("longer responses are cut, the right one as the others"),
});
type ResponseSettings = z.infer<typeof schema>;

const DISTRACTOR_KEY = randomKey(0, "response-choice distractors");
const POSITION_KEY = randomKey(0, "response-choice position");
/** Random numbers made at a time. */
const BLOCK = 16;

/** The places 0 … count − 1 in a random order of the row's own (Fisher and Yates), made as far as it is asked for. */
function* shuffled(count: number, place: number): Generator<number> {
  const moved = new Map<number, number>();
  let numbers: Float64Array = new Float64Array();
  for (let i = 0; i < count; i++) {
    if (i % BLOCK === 0) numbers = uniforms(DISTRACTOR_KEY, [place, i / BLOCK], BLOCK);
    const j = i + Math.floor((numbers[i % BLOCK] ?? 0) * (count - i));
    yield moved.get(j) ?? j;
    moved.set(j, moved.get(i) ?? i);
  }
}

/** A response of at most so many tokens. A character that the cut goes through is left out. */
function cutTo(tokens: number, text: string, tokenizer: Tokenizer): string {
  const ids = tokenizer.encode(text, { addSpecialTokens: false });
  return ids.length <= tokens ? text : tokenizer.decode(ids.subarray(0, tokens), { skipSpecialTokens: false }).replace(/\uFFFD+$/u, "");
}

const differing = (rows: readonly AskedPrompt[]): number => new Set(rows.map(({ response }) => response.trim())).size;

/** Other rows whose responses differ from the row's own and from each other's, drawn from `pool`. */
function drawOthers(row: AskedPrompt, pool: readonly AskedPrompt[], count: number): readonly AskedPrompt[] {
  const seen = new Set([row.response.trim()]);
  const others: AskedPrompt[] = [];
  for (const i of shuffled(pool.length, row.place)) {
    const other = must(pool[i], "row");
    if (seen.has(other.response.trim())) continue;
    seen.add(other.response.trim());
    others.push(other);
    if (others.length === count) break;
  }
  return others;
}

/** The rows that each row's distractors are drawn from: those of its category where they are enough, else all. */
function poolsOf(rows: readonly AskedPrompt[], { path, distractors, category }: ResponseSettings): { readonly poolOf: (row: AskedPrompt) => readonly AskedPrompt[]; readonly small: number } {
  const found = differing(rows);
  if (found <= distractors) throw new FedtuneError("data", { where: path, expected: `at least ${distractors + 1} rows with different responses, for ${distractors} distractors`, got: String(found), remedy: `Give more held-out rows${found > 1 ? `, or set response-choice.distractors=${found - 1}` : ""}` });
  if (category === undefined) return { poolOf: () => rows, small: 0 };
  const pools = Map.groupBy(rows, ({ facts }) => facts["category"] ?? null);
  const enough = new Map([...pools].filter(([name, pool]) => name !== null && differing(pool) > distractors));
  const poolOf = ({ facts }: AskedPrompt): readonly AskedPrompt[] => enough.get(facts["category"] ?? null) ?? rows;
  return { poolOf, small: rows.length - [...enough.values()].reduce((sum, pool) => sum + pool.length, 0) };
}

export const responseChoice: Benchmark<ResponseSettings> = {
  summary: "held-out rows of your own: which of four responses is the row's own, by likelihood",
  onRows: true,
  schema,
  async open(settings, context) {
    const { distractors, normalisation, max_response_tokens: tokens, category } = settings;
    const opened = await openRows("response-choice", { ...settings, max_tokens: settings.max_prompt_tokens, overflow: "drop" }, context);
    const { prompts, notes } = promptsOf("response-choice", opened, settings, { answer: { setting: "max_response_tokens", tokens }, context });
    const answered = prompts.filter(({ response }) => response.trim() !== "");
    const rows = answered.map((row) => ({ ...row, response: cutTo(tokens, row.response, context.tokenizer) }));
    const { poolOf, small } = poolsOf(rows, settings);
    const questions = rows.map((row): Question => {
      const gold = Math.floor((uniforms(POSITION_KEY, [row.place], 1)[0] ?? 0) * (distractors + 1));
      const choices = drawOthers(row, poolOf(row), distractors).toSpliced(gold, 0, row);
      const texts = choices.map(({ response }) => response);
      return {
        kind: "choice", id: row.id, facts: { ...row.facts, gold, rows: choices.map(({ id }) => id) },
        prompt: { header: "", shots: [], own: row.prompt, overflow: "error" }, choices: texts,
        judge: (scored) => {
          const best = likeliest(scored, texts, normalisation);
          return { parsed: best, scores: { correct: best === gold ? 1 : 0 } };
        },
      };
    });
    return {
      questions,
      figures: (judged) => [
        proportion(judged, "correct", { name: "accuracy" }),
        ...(opened.hasClients ? byGroup(judged, { kind: "client", fact: "client" }, (part, group) => proportion(part, "correct", { name: "accuracy", group })) : []),
        ...(category === undefined ? [] : byGroup(judged, { kind: category, fact: "category" }, (part, group) => proportion(part, "correct", { name: "accuracy", group }))),
      ],
      notes: () => [
        `chance is ${(100 / (distractors + 1)).toFixed(1)} %: one of ${distractors + 1} responses is right`,
        ...notes,
        ...(answered.length < prompts.length ? [`${rowsAre(prompts.length - answered.length)} left out: an empty response`] : []),
        ...(small > 0 ? [`${rowsAre(small)} of a category with too few others: their distractors are drawn from all rows`] : []),
      ],
    };
  },
};
