/** GSM8K (Cobbe et al. 2021): grade-school word problems, worked in words after eight demonstrations (Wei et al. 2022), judged by the number they end in. */
import { z } from "zod";
import { FedtuneError, must } from "../../../core/base/errors.ts";
import { permutation, randomKey } from "../../../core/base/random.ts";
import { formatOrigin, type RawRecord } from "../../data/records.ts";
import type { Benchmark, Question, Sampling } from "../benchmark.ts";
import { findDataFile, readRows } from "../data-files.ts";
import { parseRow } from "../fields.ts";
import { equalNumbers, finalNumber, finalNumberText } from "../final-number.ts";
import { compatField, overflowOf, pathField, shotFields, writingFields } from "../settings.ts";
import { proportion } from "../statistics.ts";

const SHOTS = 8;
const MAX_NEW_TOKENS = 256;

const schema = z.strictObject({
  path: pathField,
  demonstrations: z.string().min(1).optional().describe("a file of your own with demonstrations: question, target"),
  ...shotFields(SHOTS),
  ...writingFields(MAX_NEW_TOKENS),
  compat: compatField,
});
type Gsm8kSettings = z.infer<typeof schema>;

const text = z.string("expected a text");
const rowSchema = z.object({ question: text, answer: text });
const shotSchema = z.object({ question: text, target: text });

/** The right answer of a row: what stands after `####`. */
export function goldOf(answer: string): { readonly text: string; readonly value: number } | undefined {
  const found = /####\s*(\S[^\n]*)/.exec(answer)?.[1]?.trim().replaceAll(",", "");
  const value = found === undefined ? undefined : finalNumber(`#### ${found}`);
  return found === undefined || value === undefined ? undefined : { text: found, value };
}

function readGold(record: RawRecord, answer: string): NonNullable<ReturnType<typeof goldOf>> {
  const gold = goldOf(answer);
  if (gold !== undefined) return gold;
  throw new FedtuneError("data", { where: formatOrigin(record.origin), expected: "an answer that ends in `#### number`", got: JSON.stringify(answer.slice(-40)), remedy: "Mend or remove the row" });
}

export const gsm8k: Benchmark<Gsm8kSettings> = {
  summary: "grade-school word problems after eight worked ones: the number at the end",
  schema,
  async open(settings, context) {
    const records = await readRows(await findDataFile(settings.path, ["gsm8k", "test"], context), context);
    const worked = (await readRows(await findDataFile(settings.demonstrations, ["gsm8k", "shots"], context), context)).map((record) => parseRow(record, shotSchema));
    const shots = worked.slice(0, SHOTS).map(({ question, target }) => `Q: ${question}\nA: ${target}\n\n`);
    if (shots.length < settings.shots) throw new FedtuneError("data", { where: "gsm8k.demonstrations", expected: `${settings.shots} rows`, got: String(shots.length), remedy: `Set gsm8k.shots=${shots.length}` });
    const faithful = settings.compat === "fsllm";
    const sampling: Sampling = { maxNewTokens: settings.max_new_tokens, temperature: 0, topK: 0, topP: 1, stop: faithful ? [] : ["\nQ:", "\nQuestion:"] };
    const ordered = (place: number): readonly string[] => {
      if (!faithful) return shots;
      // The reference shuffles them anew for each question.
      return Array.from(permutation(randomKey(context.seed, "demonstrations"), [place], shots.length), (i) => must(shots[i], "shot"));
    };
    const questions = records.map((record, i): Question => {
      const { question, answer } = parseRow(record, rowSchema);
      const gold = readGold(record, answer);
      return {
        kind: "written", id: `test/${i}`, facts: { gold: gold.value }, sampling, samples: 1,
        prompt: { header: "", shots: ordered(i).slice(0, settings.shots), own: `Q: ${question}\nA:`, overflow: overflowOf(settings) },
        judge: ([written]) => {
          const said = written?.text ?? "";
          if (faithful) {
            const found = finalNumberText(said);
            return { parsed: found ?? null, scores: { correct: found === gold.text ? 1 : 0 } };
          }
          const found = finalNumber(said);
          return { parsed: found ?? null, scores: { correct: found !== undefined && equalNumbers(found, gold.value) ? 1 : 0 } };
        },
      };
    });
    return { questions, figures: (judged) => [proportion(judged, "correct", { name: "accuracy" })] };
  },
};
