/** ROUGE-L on held-out responses: rows of one's own are answered under the template of training and compared with the response they have. */
import { z } from "zod";
import { FedtuneError } from "../../../core/base/errors.ts";
import { placeOf, type Example } from "../../data/examples.ts";
import type { PromptTemplate } from "../../data/templates/template.ts";
import type { Benchmark, Question, Sampling } from "../benchmark.ts";
import { rougeL as scoreRouge } from "../rouge.ts";
import { openRows, rowFields, rowsAre } from "../rows.ts";
import { writingFields } from "../settings.ts";
import { byGroup, mean } from "../statistics.ts";

const MAX_NEW_TOKENS = 128;
const MAX_TOKENS = 512;

const { max_tokens: _cut, overflow: _overflow, ...rows } = rowFields;
const schema = z.strictObject({
  ...rows,
  ...writingFields(MAX_NEW_TOKENS),
  max_prompt_tokens: z.int().positive().default(MAX_TOKENS).describe("rows whose prompt is longer are left out, and counted"),
  stop: z.array(z.string().min(1)).default([]).describe("texts that end an answer, beside the end token"),
});
type RougeSettings = z.infer<typeof schema>;

/** What is asked, as text, and the response that is wanted: up to the first answer, and that answer. */
function promptOf(example: Example, template: PromptTemplate): { readonly prompt: string; readonly reference: string } {
  const { pieces } = template.render(example);
  const first = pieces.findIndex(({ learn }) => learn);
  if (first < 1) throw new FedtuneError("data", { where: placeOf(example), expected: "rows with a task and a response", got: "plain text", remedy: "Give rows with an instruction and an output, or conversations" });
  const reference = example.kind === "instruction" ? example.output : (pieces[first]?.text ?? "");
  return { prompt: pieces.slice(0, first).map(({ text }) => text).join(""), reference };
}

export const rougeL: Benchmark<RougeSettings> = {
  summary: "overlap of written answers with the held-out responses of rows of your own",
  onRows: true,
  schema,
  async open(settings, context) {
    const { rows: asked, template, hasClients } = await openRows("rouge-l", { ...settings, max_tokens: settings.max_prompt_tokens, overflow: "drop" }, context);
    const sampling: Sampling = { maxNewTokens: settings.max_new_tokens, temperature: 0, topK: 0, topP: 1, stop: settings.stop };
    const room = Math.min(settings.max_prompt_tokens, context.contextTokens - settings.max_new_tokens);
    if (room < 1) throw new FedtuneError("config", { where: "rouge-l.max_new_tokens", expected: `fewer than the model's ${context.contextTokens} tokens, so that prompts have room`, got: String(settings.max_new_tokens), remedy: "Lower rouge-l.max_new_tokens" });
    let long = 0;
    const questions = asked.flatMap(({ id, example, facts }): Question[] => {
      const { prompt, reference } = promptOf(example, template);
      // One for the bos.
      if (1 + context.tokenizer.encode(prompt, { addSpecialTokens: false }).length > room) {
        long++;
        return [];
      }
      return [{
        kind: "written", id, facts: { ...facts, reference }, sampling, samples: 1, prompt: { header: "", shots: [], own: prompt, overflow: "error" },
        judge: ([written]) => {
          const text = (written?.text ?? "").trim();
          const { precision, recall, f1 } = scoreRouge(text, reference);
          return { parsed: text, scores: { f1, precision, recall } };
        },
      }];
    });
    if (questions.length === 0) throw new FedtuneError("data", { where: settings.path, expected: `rows whose prompt has at most ${room} tokens`, got: `none of ${asked.length}`, remedy: "Raise rouge-l.max_prompt_tokens, or lower rouge-l.max_new_tokens" });
    return {
      questions,
      figures: (judged) => [
        mean(judged, "f1", { name: "ROUGE-L" }),
        mean(judged, "precision", { name: "precision" }),
        mean(judged, "recall", { name: "recall" }),
        ...(hasClients ? byGroup(judged, { kind: "client", fact: "client" }, (part, group) => mean(part, "f1", { name: "ROUGE-L", group })) : []),
        ...(settings.category === undefined ? [] : byGroup(judged, { kind: settings.category, fact: "category" }, (part, group) => mean(part, "f1", { name: "ROUGE-L", group }))),
      ],
      notes: () => (long > 0 ? [`${rowsAre(long)} left out: a prompt of more than ${room} tokens`] : []),
    };
  },
};
