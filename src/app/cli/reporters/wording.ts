/** Sentences about events and progress that the terminal and the plain reporter share. */
import { formatCount, formatFigure, formatPerplexity, formatSeconds, formatThings } from "../../report/index.ts";
import type { RunEvent } from "../api.ts";
import type { Phase, ProgressView } from "../progress.ts";

/** What a phase is called: the heading of its column in the final table. */
export const PHASE_NAMES = { federated: "federated", pooled: "pooled", alone: "alone" } as const satisfies Record<Phase, string>;

type EventOf<Type extends RunEvent["type"]> = Extract<RunEvent, { type: Type }>;

/** "dolly: 10 clients with 2,143 training rows, 20 rounds of 8 steps"; on its own line what trains, as PEFT prints it. */
export function describeStart(event: EventOf<"run-started">): string {
  const rows = event.clients.reduce((sum, c) => sum + c.train, 0);
  return `${event.name}: ${formatThings(event.clients.length, "client")} with ${formatThings(rows, "training row")}, ${formatThings(event.rounds, "round")} of ${formatThings(event.localSteps, "step")}${event.device === undefined ? "" : `, on ${event.device}`}\n${describeTrainable(event)}`;
}

/** "trainable params: 458,752 || all params: 26,288,640 || trainable%: 1.7451". */
function describeTrainable({ trainableParameters: trainable, baseParameters, allParameters = baseParameters + trainable }: EventOf<"run-started">): string {
  return `trainable params: ${formatCount(trainable)} || all params: ${formatCount(allParameters)} || trainable%: ${((100 * trainable) / allParameters).toFixed(4)}`;
}

/** Perplexity of an evaluation, all rows together. */
export function describeEvaluation(event: EventOf<"evaluated">): string {
  const { nll, labelledTokens } = event.pooled;
  return formatPerplexity(nll === null || labelledTokens === 0 ? undefined : Math.exp(nll / labelledTokens));
}

/** "rouge-l, federated: ROUGE-L 23.1 % (20.4 to 25.9), 50 questions". */
export function describeBenchmark({ label, scenario, figures: [figure] }: EventOf<"benchmarked">): string {
  return `${label}, ${scenario}: ${figure === undefined ? "nothing could be asked" : `${figure.name} ${formatFigure(figure)}, ${formatThings(figure.questions, "question")}`}`;
}

/** "1,240 tokens/s", or nothing before there is a rate. */
export function describeRate(view: ProgressView): string | undefined {
  return view.tokensPerSecond === undefined ? undefined : `${formatCount(view.tokensPerSecond)} tokens/s`;
}

/** "about 12 min 05 s left"; coarse on purpose where much is left. */
export function describeTimeLeft(view: ProgressView): string | undefined {
  if (view.secondsLeft === undefined) return undefined;
  const seconds = view.secondsLeft > 600 ? Math.round(view.secondsLeft / 60) * 60 : view.secondsLeft;
  return `about ${formatSeconds(seconds).replace(" 00 s", "")} left`;
}
