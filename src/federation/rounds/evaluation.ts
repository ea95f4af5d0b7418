/** Loss of adapters on sets of rows, spread over the trainers. Which rows and why is left to the caller. */
import type { NamedTensors } from "../../core/base/tensor.ts";
import type { EvaluateJob, EvaluateResult, Trainer } from "../../llm/training/types.ts";
import { chunk, takeInTurn } from "../protocol/take-in-turn.ts";
import type { LossSum } from "./events.ts";

/** One client's rows, or the global test's (client absent). */
export interface RowSet {
  readonly client?: number;
  readonly examples: Int32Array;
}

export interface EvaluationRequest {
  /** Absent: the base. */
  readonly adapter?: NamedTensors<"float32">;
  readonly sets: readonly RowSet[];
}

export interface EvaluationResult {
  /** In the order of the sets that name a client and hold rows. */
  readonly clients: readonly (LossSum & { readonly client: number })[];
  /** All sets together. */
  readonly pooled: LossSum;
}

export interface EvaluationOptions {
  /** Sets per call of a trainer, so that progress shows and a stop is heard. */
  readonly groupSize: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** One result per request. Losses that are not finite come out as null. */
export async function evaluateAdapters(trainers: readonly Pick<Trainer, "evaluate">[], requests: readonly EvaluationRequest[], options: EvaluationOptions): Promise<readonly EvaluationResult[]> {
  const jobs = requests.flatMap(({ adapter, sets }) => sets.filter(({ examples }) => examples.length > 0).map(({ examples }): EvaluateJob => ({ examples, ...(adapter && { adapter }) })));
  const results = await evaluateJobs(trainers, jobs, options);
  let next = 0;
  return requests.map(({ sets }) => {
    const sums = sets.map((set) => ({ set, sum: set.examples.length === 0 ? NOTHING : sumOf(results[next++]) }));
    const clients = sums.flatMap(({ set: { client, examples }, sum }) => (client === undefined || examples.length === 0 ? [] : [{ client, ...sum }]));
    return { clients, pooled: addSums(sums.map(({ sum }) => sum)) };
  });
}

async function evaluateJobs(trainers: readonly Pick<Trainer, "evaluate">[], jobs: readonly EvaluateJob[], options: EvaluationOptions): Promise<readonly EvaluateResult[]> {
  const { groupSize, signal, onProgress } = options;
  let done = 0;
  const results = await takeInTurn(trainers, chunk(jobs, groupSize), {
    signal,
    work: async (trainer, group) => {
      const answered = await trainer.evaluate(group, signal === undefined ? {} : { signal });
      done += group.length;
      onProgress?.(done, jobs.length);
      return answered;
    },
  });
  return results.flat();
}

const NOTHING: LossSum = { nll: 0, labelledTokens: 0, examples: 0 };

function sumOf(result: EvaluateResult | undefined): LossSum {
  if (result === undefined) return NOTHING;
  return { nll: Number.isFinite(result.nll) ? result.nll : null, labelledTokens: result.labelledTokens, examples: result.examples };
}

function addSums(sums: readonly LossSum[]): LossSum {
  let total: LossSum = NOTHING;
  for (const { nll, labelledTokens, examples } of sums) {
    total = { nll: nll === null || total.nll === null ? null : total.nll + nll, labelledTokens: total.labelledTokens + labelledTokens, examples: total.examples + examples };
  }
  return total;
}
