/** Code match: whether a piece of code does what a document says, by which of 0 and 1 is likelier after five demonstrations. */
import { z } from "zod";
import { FedtuneError, must } from "../../../core/base/errors.ts";
import { permutation, randomKey } from "../../../core/base/random.ts";
import { formatOrigin } from "../../data/records.ts";
import type { Benchmark, Question } from "../benchmark.ts";
import { readRows } from "../data-files.ts";
import { nameIn, parseRow, requireColumn } from "../fields.ts";
import { compatField, overflowOf, shotFields } from "../settings.ts";
import { byGroup, proportion } from "../statistics.ts";
import { DEMONSTRATIONS, type CodePair } from "./code-match-shots.ts";

const SHOTS = 5;
const SCORES = [0, 1] as const;
/** The reference drops demonstrations of longer prompts. */
const REFERENCE_LIMIT = { most: 1024, unit: "characters" } as const;

/** What stands first unless the settings have a header. */
const HEADER = "Input: a piece of code and a document Output: 0 or 1 indicating the degree of matching between the code and the document, with 0 indicating a mismatch and 1 indicating a match.\n\n";

const field = z.string().min(1);
const schema = z.strictObject({
  path: field.describe("a file of documents with code, as CoSQA has them, or of instructions with code"),
  document_field: field.default("doc").describe("column with the document"),
  code_field: field.default("code").describe("column with the code"),
  label_field: field.default("label").describe("column with 1 where they match, else 0"),
  pairs: z.enum(["labelled", "shuffled"]).default("labelled").describe("labelled: the file says which match; shuffled: every document is asked with its own code and once more with another row's"),
  header: z.string().default(HEADER).describe("what stands first"),
  demonstrations: field.optional().describe("a file of the same columns whose first rows stand before each question; left out: five of fedtune's own"),
  ...shotFields(SHOTS),
  category: field.optional().describe("column whose values get figures of their own"),
  compat: compatField,
});
type CodeMatchSettings = z.infer<typeof schema>;

/** The reference takes these rows of CoSQA's training file. */
const REFERENCE_ROWS = ["cosqa-train-0", "cosqa-train-9", "cosqa-train-2", "cosqa-train-18", "cosqa-train-4"];

interface Pair extends CodePair {
  readonly category: string | null;
  readonly idx: string | null;
  readonly origin: string;
}

async function readPairs(path: string, settings: CodeMatchSettings, { baseFolder }: { readonly baseFolder: string }): Promise<readonly Pair[]> {
  const records = await readRows(path, { baseFolder });
  const { document_field: doc, code_field: code, label_field: label, category } = settings;
  if (category !== undefined) requireColumn(records, category, { setting: "code-match.category", file: path });
  const labelled = settings.pairs === "labelled";
  const rowSchema = z.object({ [doc]: z.string("expected a text"), [code]: z.string("expected a text"), ...(labelled ? { [label]: z.union([z.literal(0), z.literal(1)], "expected 0 or 1") } : {}) });
  return records.map((record) => {
    const row = parseRow(record, rowSchema);
    return { doc: String(row[doc]), code: String(row[code]), label: labelled && row[label] === 0 ? 0 : 1, category: category === undefined ? null : nameIn(record, category), idx: nameIn(record, "idx"), origin: formatOrigin(record.origin) };
  });
}

/** Each pair, and each document with the code of the row that follows it in a random cycle through all. */
function shufflePairs(pairs: readonly Pair[], seed: number): readonly Pair[] {
  if (pairs.length < 2) throw new FedtuneError("data", { where: "code-match.pairs", expected: "at least two rows to shuffle", got: String(pairs.length) });
  const order = permutation(randomKey(seed, "code pairs"), [], pairs.length);
  const other = new Int32Array(pairs.length);
  order.forEach((row, at) => (other[row] = order[(at + 1) % order.length] ?? 0));
  return pairs.flatMap((pair, i) => [pair, { ...pair, code: must(pairs[other[i] ?? 0], "pair").code, label: 0 as const }]);
}

/** With the digit apart: a space before it belongs to it where the tokenizer has it so. */
function write({ doc, code }: CodePair): string {
  return `Document: ${doc}\nCode: ${code}\nScore:`;
}

/** The category, such as a language, stands before the question's document, though not before those of demonstrations; a space ends the prompt. */
function writeAsReference({ doc, code, category }: Pair): string {
  return `Document:${category ?? ""} ${doc}\nCode: ${code}\nScore: `;
}

async function readShots(settings: CodeMatchSettings, context: { readonly baseFolder: string }): Promise<readonly CodePair[]> {
  const { demonstrations, compat } = settings;
  if (demonstrations === undefined) return DEMONSTRATIONS;
  const rows = await readPairs(demonstrations, { ...settings, pairs: "labelled" }, context);
  const named = compat === "fsllm" ? REFERENCE_ROWS.flatMap((idx) => rows.filter((row) => row.idx === idx)) : [];
  const taken = named.length === REFERENCE_ROWS.length ? named : rows.slice(0, SHOTS);
  if (taken.length < settings.shots) throw new FedtuneError("data", { where: demonstrations, expected: `${settings.shots} rows`, got: String(taken.length), remedy: `Set code-match.shots=${taken.length}` });
  return taken;
}

export const codeMatch: Benchmark<CodeMatchSettings> = {
  summary: "whether code does what a document says: the likelier of 0 and 1",
  schema,
  async open(settings, context) {
    const pairs = await readPairs(settings.path, settings, context);
    const asked = settings.pairs === "shuffled" ? shufflePairs(pairs, context.seed) : pairs;
    const shots = (await readShots(settings, context)).map((shot) => `${write(shot)} ${shot.label}\n\n`);
    const faithful = settings.compat === "fsllm";
    const ordered = (place: number): readonly string[] =>
      // The reference shuffles them anew for each question.
      faithful ? Array.from(permutation(randomKey(context.seed, "demonstrations"), [place], shots.length), (i) => must(shots[i], "shot")) : shots;
    const questions = asked.map((pair, i): Question => ({
      kind: "choice", id: `${i}`, facts: { gold: pair.label, row: pair.origin, ...(settings.category === undefined ? {} : { category: pair.category }) },
      prompt: { header: settings.header, shots: ordered(i).slice(0, settings.shots), own: faithful ? writeAsReference(pair) : write(pair), overflow: overflowOf(settings), ...(faithful && { limit: REFERENCE_LIMIT }) },
      ...(faithful ? { choices: SCORES.map(String), scoring: "last-token" } : { choices: SCORES.map((score) => ` ${score}`) }),
      judge: ([no, yes]) => {
        const said = (yes?.logLikelihood ?? 0) > (no?.logLikelihood ?? 0) ? 1 : 0;
        return { parsed: said, scores: { correct: said === pair.label ? 1 : 0 } };
      },
    }));
    return {
      questions,
      figures: (judged) => [
        proportion(judged, "correct", { name: "accuracy" }),
        ...byGroup(judged, { kind: "label", fact: "gold" }, (part, group) => proportion(part, "correct", { name: "accuracy", group })),
        ...(settings.category === undefined ? [] : byGroup(judged, { kind: settings.category, fact: "category" }, (part, group) => proportion(part, "correct", { name: "accuracy", group }))),
      ],
    };
  },
};
