/** What fedtune and transformers are both asked about minimind2-small, and the form of what transformers answered. */
import { join } from "node:path";
import { z } from "zod";

const resultsSchema = z.object({
  torch: z.string(), transformers: z.string(), seconds: z.number(),
  results: z.array(z.object({ id: z.string(), letter: z.string().optional(), scores: z.array(z.number()).optional(), nll: z.number().optional(), tokens: z.int().optional() })),
});

/** test/goldens/evaluation.json. */
export const goldenSchema = z.object({ mmlu: resultsSchema, perplexity: resultsSchema });

export interface EvaluationCase {
  readonly benchmark: "mmlu" | "perplexity";
  readonly settings: (shared: string) => Readonly<Record<string, unknown>>;
  readonly limit: number;
  /** Part of witness.py, and its file under ../shared. */
  readonly witness: "mmlu" | "perplexity";
  readonly data: string;
  /** What the witness calls a question. */
  readonly witnessId: (id: string) => string;
}

const ROWS = "data/dolly15k/dolly15k-fedit10.jsonl";

export const CASES: readonly EvaluationCase[] = [
  {
    benchmark: "mmlu", witness: "mmlu", data: "data/mmlu/mmlu.jsonl", limit: 210, witnessId: (id) => id,
    // Of every category one, and of short prompts.
    settings: () => ({ subjects: ["world_religions", "abstract_algebra", "management", "conceptual_physics", "human_sexuality"] }),
  },
  { benchmark: "perplexity", witness: "perplexity", data: ROWS, limit: 32, witnessId: (id) => id.slice(id.lastIndexOf(":") + 1), settings: (shared) => ({ path: join(shared, ROWS) }) },
];
