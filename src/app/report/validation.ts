/** Validation losses of a run, by scenario and round. */
import type { Evaluated, RunFacts } from "./facts.ts";
import { addLosses } from "./result-table.ts";
import type { Column } from "./result-table.ts";

/** `[round, loss in nats per labelled token]`. */
export type Point = readonly [number, number];

/** Loss of each round of a scenario over all rows that it was judged by, in order of round. */
export function validationPoints(evaluations: readonly Evaluated[], scenario: Evaluated["scenario"]): Point[] {
  return evaluations
    .filter((e) => e.scenario === scenario && e.split === "validation")
    .flatMap((e): Point[] => (e.pooled.nll === null || e.pooled.labelledTokens === 0 ? [] : [[e.round, e.pooled.nll / e.pooled.labelledTokens]]))
    .sort((a, b) => a[0] - b[0]);
}

/**
 * Validation loss (nats per labelled token) of the rounds whose adapters are judged at the end; for clients alone of all of them, each on
 * its own rows. Undefined where one of them was not evaluated.
 */
export function keptValidationLoss(facts: RunFacts, column: Column, keep: "best" | "last"): number | undefined {
  const scenarios: readonly Evaluated["scenario"][] = column === "alone" ? (facts.started?.clients ?? []).map((_, client): Evaluated["scenario"] => `local/${client}`) : [column === "pooled" ? "global" : column];
  const losses = scenarios.map((scenario) => {
    const round = keptRound(facts, scenario, keep);
    return facts.evaluations.find((e) => e.scenario === scenario && e.split === "validation" && e.round === round)?.pooled;
  });
  const sum = addLosses(losses);
  return sum === undefined || sum.nll === null || sum.labelledTokens === 0 ? undefined : sum.nll / sum.labelledTokens;
}

/** The round that final evaluation or benchmarks judged; before those, the one that would be kept now. */
function keptRound(facts: RunFacts, scenario: Evaluated["scenario"], keep: "best" | "last"): number {
  const judged = [...facts.evaluations.filter((e) => e.split !== "validation"), ...facts.benchmarks].find((e) => e.scenario === scenario);
  if (judged !== undefined) return judged.round;
  if (scenario === "base") return 0;
  const best = facts.evaluations.findLast((e) => e.scenario === scenario && e.split === "validation" && e.best);
  return keep === "best" && best !== undefined ? best.round : (facts.commits.get(scenario)?.at(-1)?.round ?? 0);
}
