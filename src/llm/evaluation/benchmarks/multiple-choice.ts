/** Questions of one's own with given answers, judged by which answer is likeliest. */
import { z } from "zod";
import { FedtuneError } from "../../../core/base/errors.ts";
import { formatOrigin, type RawRecord } from "../../data/records.ts";
import type { Benchmark, Question } from "../benchmark.ts";
import { readRows } from "../data-files.ts";
import { nameIn, parseRow, requireColumn } from "../fields.ts";
import { likeliest, normalisationField } from "../likelihood.ts";
import { overflowOf } from "../settings.ts";
import { byGroup, proportion } from "../statistics.ts";

const schema = z.strictObject({
  path: z.string().min(1).describe("a file with `question`, `choices` (a list of texts) and `answer` (the place of the right one from 0, its letter, or its text)"),
  prompt: z.string().default("{question}").describe("what stands before the answers; {question} and other columns in braces are put in. \"Question: {question}\\nAnswer:\" suits most"),
  separator: z.string().default(" ").describe("stands between prompt and answer"),
  header: z.string().default("").describe("stands before everything"),
  normalisation: normalisationField("none"),
  demonstrations: z.string().min(1).optional().describe("a file with answered questions that stand before each one"),
  shots: z.int().min(0).optional().describe("how many of them; left out: all"),
  overflow: z.enum(["error", "drop-shots"]).default("error").describe("where the demonstrations do not fit the model's context: an error, or the last ones dropped one at a time"),
  category: z.string().min(1).optional().describe("column whose values get figures of their own"),
});
type ChoiceSettings = z.infer<typeof schema>;

const rowSchema = z.looseObject({
  question: z.string("expected a text"),
  choices: z.array(z.string("expected a text").min(1, "expected some text")).min(2, "expected a list of two texts at least"),
  answer: z.union([z.int(), z.string()], "expected the place of the right answer from 0, its letter, or its text"),
});
type Row = z.infer<typeof rowSchema>;

/** Place of the right answer from 0. A letter counts only where no answer is that letter itself. */
function answerOf({ answer, choices }: Row, record: RawRecord): number {
  const place = typeof answer === "number" ? answer : choices.includes(answer) ? choices.indexOf(answer) : /^[A-Z]$/i.test(answer) ? (answer.toUpperCase().codePointAt(0) ?? 0) - 65 : -1;
  if (place >= 0 && place < choices.length) return place;
  throw new FedtuneError("data", { where: formatOrigin(record.origin), expected: `an answer that is one of the ${choices.length} choices: its place from 0, its letter, or its text`, got: JSON.stringify(answer), remedy: "Mend or remove the row" });
}

/** The prompt with columns put in. */
function fill(template: string, record: RawRecord): string {
  return template.replaceAll(/\{(\w+)\}/g, (whole, name: string) => {
    if (!Object.hasOwn(record.fields, name)) {
      throw new FedtuneError("data", { where: formatOrigin(record.origin), expected: `a column \`${name}\`, which multiple-choice.prompt names`, got: `columns ${Object.keys(record.fields).join(", ")}`, remedy: `Mend the prompt (${whole}) or the row` });
    }
    return nameIn(record, name) ?? JSON.stringify(record.fields[name]);
  });
}

export const multipleChoice: Benchmark<ChoiceSettings> = {
  summary: "questions of your own with given answers: the likeliest, with or without normalisation of length",
  schema,
  async open(settings, context) {
    const read = async (path: string): Promise<{ readonly record: RawRecord; readonly row: Row }[]> => (await readRows(path, context)).map((record) => ({ record, row: parseRow(record, rowSchema) }));
    const rows = await read(settings.path);
    if (settings.category !== undefined) requireColumn(rows.map(({ record }) => record), settings.category, { setting: "multiple-choice.category", file: settings.path });
    const worked = settings.demonstrations === undefined ? [] : await read(settings.demonstrations);
    if (settings.shots !== undefined && settings.shots > worked.length) {
      throw new FedtuneError("config", { where: "multiple-choice.shots", expected: `at most the ${worked.length} rows of ${settings.demonstrations ?? "demonstrations, of which there are none"}`, got: String(settings.shots), remedy: settings.demonstrations === undefined ? "Give a file by multiple-choice.demonstrations=…" : `Set multiple-choice.shots=${worked.length}` });
    }
    const shots = worked.slice(0, settings.shots).map(({ record, row }) => `${fill(settings.prompt, record)}${settings.separator}${row.choices[answerOf(row, record)] ?? ""}\n\n`);
    const questions = rows.map(({ record, row }, i): Question => {
      const gold = answerOf(row, record);
      return {
        kind: "choice", id: `${i}`, facts: { gold, ...(settings.category === undefined ? {} : { category: nameIn(record, settings.category) }) },
        prompt: { header: settings.header, shots, own: fill(settings.prompt, record), overflow: overflowOf({ ...settings, compat: "none" }) },
        choices: row.choices.map((choice) => settings.separator + choice),
        judge: (scored) => {
          const best = likeliest(scored, row.choices, settings.normalisation);
          return { parsed: best, scores: { correct: best === gold ? 1 : 0 } };
        },
      };
    });
    return {
      questions,
      figures: (judged) => [
        proportion(judged, "correct", { name: "accuracy" }),
        ...(settings.category === undefined ? [] : byGroup(judged, { kind: settings.category, fact: "category" }, (part, group) => proportion(part, "correct", { name: "accuracy", group }))),
      ],
    };
  },
};
