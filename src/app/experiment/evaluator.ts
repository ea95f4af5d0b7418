/** Evaluation as a run uses it: over all its trainers, with progress for people. */
import { evaluateAdapters, type EvaluationRequest, type EvaluationResult } from "../../federation/rounds/evaluation.ts";
import type { Tick } from "../../federation/rounds/events.ts";
import type { Trainer } from "../../llm/training/types.ts";

/** Losses of adapters on sets of rows; `stage` names the work in progress ticks. */
export type Evaluator = (requests: readonly EvaluationRequest[], stage: string) => Promise<readonly EvaluationResult[]>;

export interface EvaluatorOptions {
  readonly tick: (tick: Tick) => void;
  readonly now: () => string;
  readonly signal: AbortSignal;
}

/** An evaluator over trainers: they take the sets of rows in turn, one at a time. */
export function createEvaluator(trainers: readonly Trainer[], { tick, now, signal }: EvaluatorOptions): Evaluator {
  return (requests, stage) =>
    evaluateAdapters(trainers, requests, { groupSize: 1, signal, onProgress: (done, total) => tick({ type: "progress", at: now(), stage, done, total }) });
}
