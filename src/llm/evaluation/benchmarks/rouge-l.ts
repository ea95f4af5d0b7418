/** ROUGE-L on held-out responses: rows of one's own are answered under the template of training and compared with the response they have. */
import { z } from "zod";
import type { Benchmark, Question, Sampling } from "../benchmark.ts";
import { rougeL as scoreRouge } from "../rouge.ts";
import { openRows, promptFields, promptsOf } from "../rows.ts";
import { writingFields } from "../settings.ts";
import { byGroup, mean } from "../statistics.ts";

const MAX_NEW_TOKENS = 128;

const schema = z.strictObject({
  ...promptFields,
  ...writingFields(MAX_NEW_TOKENS),
  stop: z.array(z.string().min(1)).default([]).describe("texts that end an answer, beside the end token"),
});
type RougeSettings = z.infer<typeof schema>;

export const rougeL: Benchmark<RougeSettings> = {
  summary: "overlap of written answers with the held-out responses of rows of your own",
  onRows: true,
  schema,
  async open(settings, context) {
    const opened = await openRows("rouge-l", { ...settings, max_tokens: settings.max_prompt_tokens, overflow: "drop" }, context);
    const sampling: Sampling = { maxNewTokens: settings.max_new_tokens, temperature: 0, topK: 0, topP: 1, stop: settings.stop };
    const { prompts, notes } = promptsOf("rouge-l", opened, settings, { answer: { setting: "max_new_tokens", tokens: settings.max_new_tokens }, context });
    const questions = prompts.map(({ id, prompt, response: reference, facts }): Question => ({
      kind: "written", id, facts: { ...facts, reference }, sampling, samples: 1, prompt: { header: "", shots: [], own: prompt, overflow: "error" },
      judge: ([written]) => {
        const text = (written?.text ?? "").trim();
        const { precision, recall, f1 } = scoreRouge(text, reference);
        return { parsed: text, scores: { f1, precision, recall } };
      },
    }));
    return {
      questions,
      figures: (judged) => [
        mean(judged, "f1", { name: "ROUGE-L" }),
        mean(judged, "precision", { name: "precision" }),
        mean(judged, "recall", { name: "recall" }),
        ...(opened.hasClients ? byGroup(judged, { kind: "client", fact: "client" }, (part, group) => mean(part, "f1", { name: "ROUGE-L", group })) : []),
        ...(settings.category === undefined ? [] : byGroup(judged, { kind: settings.category, fact: "category" }, (part, group) => mean(part, "f1", { name: "ROUGE-L", group }))),
      ],
      notes: () => notes,
    };
  },
};
