/**
 * MMLU (Hendrycks et al. 2021): 57 subjects, four given answers each, judged by which letter is likeliest after five
 * demonstrations of the same subject.
 */
import { z } from "zod";
import { FedtuneError, must } from "../../../core/base/errors.ts";
import { formatOrigin } from "../../data/records.ts";
import type { Benchmark, ChoiceQuestion, Question } from "../benchmark.ts";
import { findDataFile, readRows } from "../data-files.ts";
import { parseRow } from "../fields.ts";
import { compatField, overflowOf, pathField, shotFields } from "../settings.ts";
import { byGroup, proportion } from "../statistics.ts";
import { CATEGORIES, SUBJECTS } from "./mmlu-subjects.ts";

const SHOTS = 5;
/** The reference drops demonstrations of longer prompts, whatever the model. */
const REFERENCE_LIMIT = { most: 1024, unit: "tokens" } as const;
const LETTERS = ["A", "B", "C", "D"] as const;

const schema = z.strictObject({
  path: pathField,
  ...shotFields(SHOTS),
  subjects: z.array(z.string()).min(1).optional().describe("only these subjects; left out: all"),
  compat: compatField,
});
type MmluSettings = z.infer<typeof schema>;

const rowSchema = z.object({
  subject: z.string("expected a text"),
  split: z.enum(["dev", "test"], "expected dev or test"),
  question: z.string("expected a text"),
  choices: z.array(z.string("expected a text")).length(LETTERS.length, `expected ${LETTERS.length} texts`),
  answer: z.int("expected a whole number").min(0).max(LETTERS.length - 1, `expected the place of the right answer, 0 to ${LETTERS.length - 1}`),
});
type Row = z.infer<typeof rowSchema>;

function writeQuestion({ question, choices }: Row): string {
  return `${question}${choices.map((choice, i) => `\n${LETTERS[i] ?? ""}. ${choice}`).join("")}\nAnswer:`;
}

/** The reference's line runs on over the indentation of its source, and each word of the subject brings a space. */
function header(subject: string, compat: MmluSettings["compat"]): string {
  const [gap, about] = compat === "fsllm" ? [" ".repeat(9), " "] : [" ", ""];
  return `The following are multiple choice${gap}questions (with answers) about ${about}${subject.replaceAll("_", " ")}.\n\n`;
}

/** What a subject's figures are grouped by; subjects that MMLU does not have are in no category. */
function groupsOf(subject: string): Readonly<Record<string, string | null>> {
  const subcategory = Object.hasOwn(SUBJECTS, subject) ? (SUBJECTS[subject] ?? null) : null;
  const category = Object.entries(CATEGORIES).find(([, parts]) => subcategory !== null && parts.includes(subcategory))?.[0] ?? null;
  return { category, subcategory, subject };
}

function toQuestion(row: Row, id: string, { demonstrations, settings }: { readonly demonstrations: readonly Row[]; readonly settings: MmluSettings }): ChoiceQuestion {
  const shots = demonstrations.slice(0, settings.shots).map((shot) => `${writeQuestion(shot)} ${LETTERS[shot.answer] ?? ""}\n\n`);
  const faithful = settings.compat === "fsllm";
  return {
    kind: "choice", id, facts: { ...groupsOf(row.subject), gold: LETTERS[row.answer] ?? "" },
    prompt: { header: header(row.subject, settings.compat), shots, own: writeQuestion(row), overflow: overflowOf(settings), ...(faithful && { limit: REFERENCE_LIMIT }) },
    ...(faithful ? { choices: LETTERS, scoring: "last-token" } : { choices: LETTERS.map((letter) => ` ${letter}`) }),
    judge: (choices) => {
      // The first of equals, as argmax has it.
      const best = choices.reduce((most, { logLikelihood }, i) => (logLikelihood > (choices[most]?.logLikelihood ?? -Infinity) ? i : most), 0);
      return { parsed: LETTERS[best] ?? "", scores: { correct: best === row.answer ? 1 : 0 } };
    },
  };
}

export const mmlu: Benchmark<MmluSettings> = {
  summary: "knowledge in 57 subjects: the likeliest of four letters after five demonstrations",
  schema,
  async open(settings, context) {
    const file = await findDataFile(settings.path, ["mmlu", "test"], context);
    const records = await readRows(file, context);
    const rows = records.map((record) => ({ record, row: parseRow(record, rowSchema) }));
    const bySubject = Map.groupBy(rows, ({ row }) => row.subject);
    const questions: Question[] = [];
    for (const subject of settings.subjects ?? bySubject.keys()) {
      const found = bySubject.get(subject);
      if (found === undefined) throw new FedtuneError("data", { where: "mmlu.subjects", expected: "subjects of the file", got: `\`${subject}\``, remedy: `Known there: ${[...bySubject.keys()].join(", ")}` });
      const demonstrations = found.filter(({ row }) => row.split === "dev").map(({ row }) => row);
      const asked = found.filter(({ row }) => row.split === "test");
      if (demonstrations.length < settings.shots) throw new FedtuneError("data", { where: formatOrigin(must(found[0], "row").record.origin), expected: `${settings.shots} rows of split dev for the subject ${subject}`, got: String(demonstrations.length), remedy: `Set mmlu.shots=${demonstrations.length}` });
      for (const [i, { row }] of asked.entries()) questions.push(toQuestion(row, `${subject}/${i}`, { demonstrations, settings }));
    }
    return {
      questions,
      figures: (judged) => [
        proportion(judged, "correct", { name: "accuracy" }),
        ...["category", "subcategory", "subject"].flatMap((kind) => byGroup(judged, { kind, fact: kind }, (part, group) => proportion(part, "correct", { name: "accuracy", group }))),
      ],
    };
  },
};
