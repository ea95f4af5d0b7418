/** Perplexity: exp of the mean loss of the labelled tokens (those a model is trained on), per client, per category and pooled. */
import { z } from "zod";
import { FedtuneError } from "../../../core/base/errors.ts";
import { encodeExample } from "../../data/encode-example.ts";
import type { Benchmark, LossQuestion } from "../benchmark.ts";
import { openRows, rowFields, rowsAre } from "../rows.ts";
import { byGroup, perplexity as perplexityOf } from "../statistics.ts";

const schema = z.strictObject(rowFields);
type PerplexitySettings = z.infer<typeof schema>;

const FIGURE = { name: "perplexity", loss: "nll", tokens: "tokens" };

export const perplexity: Benchmark<PerplexitySettings> = {
  summary: "perplexity of the answers in rows of your own: pooled, per client and per category",
  onRows: true,
  schema,
  async open(settings, context) {
    const { rows, template, hasClients } = await openRows("perplexity", settings, context);
    if (settings.max_tokens > context.contextTokens) {
      throw new FedtuneError("config", { where: "perplexity.max_tokens", expected: `at most ${context.contextTokens}, the longest text that the model knows beside its adapter's tokens`, got: String(settings.max_tokens), remedy: `Set perplexity.max_tokens=${context.contextTokens}` });
    }
    let left = 0;
    let cut = 0;
    const questions = rows.flatMap(({ id, example, facts }): LossQuestion[] => {
      const encoded = encodeExample(example, { tokenizer: context.tokenizer, template, settings });
      if (encoded === undefined) left++;
      if (encoded?.truncated === true) cut++;
      return encoded === undefined ? [] : [{
        kind: "loss", id, facts, ids: encoded.ids, labels: encoded.labels,
        judge: (losses) => {
          const nll = losses.reduce((a, b) => a + b, 0);
          return { parsed: Math.exp(nll / losses.length), scores: { nll, tokens: losses.length } };
        },
      }];
    });
    if (questions.length === 0) throw new FedtuneError("data", { where: settings.path, expected: `rows with an answer within the first ${settings.max_tokens} tokens`, got: `none of ${rows.length}`, remedy: "Raise perplexity.max_tokens" });
    return {
      questions,
      figures: (judged) => [
        perplexityOf(judged, FIGURE),
        ...(hasClients ? byGroup(judged, { kind: "client", fact: "client" }, (part, group) => perplexityOf(part, { ...FIGURE, group })) : []),
        ...(settings.category === undefined ? [] : byGroup(judged, { kind: settings.category, fact: "category" }, (part, group) => perplexityOf(part, { ...FIGURE, group }))),
      ],
      notes: () => [
        ...(left > 0 ? [`${rowsAre(left)} left out: no labelled token within ${settings.max_tokens} tokens`] : []),
        ...(cut > 0 ? [`${rowsAre(cut)} cut to ${settings.max_tokens} tokens`] : []),
      ],
    };
  },
};
