/** The last figures: every scenario's adapter on test rows, once each. Nothing is selected by them. */
import type { NamedTensors } from "../../core/base/tensor.ts";
import type { RowSet } from "../../federation/rounds/evaluation.ts";
import type { JournalEvent, Scenario } from "../../federation/rounds/events.ts";
import { findEvaluation, keptRound, type RunState } from "../../federation/rounds/replay.ts";
import type { Partition } from "../../llm/data/types.ts";
import type { Evaluator } from "./evaluator.ts";

type Judged = Scenario | "base";

export interface FinalEvaluation {
  readonly partition: Partition;
  readonly keep: "best" | "last";
  readonly evaluate: Evaluator;
  readonly append: (event: JournalEvent) => void;
  readonly getTensors: (hash: string) => NamedTensors<"float32">;
  readonly now: () => string;
}

/** Evaluates what the journal lacks: a client alone on its own test rows, all others on every client's; and all on the global test. */
export async function evaluateOnTest(scenarios: readonly Judged[], state: RunState, final: FinalEvaluation): Promise<void> {
  const { partition, keep, evaluate, append, getTensors, now } = final;
  for (const scenario of scenarios) {
    const record = scenario === "base" ? undefined : keptRound(state, scenario, keep);
    const round = record?.round ?? 0;
    const adapter = record === undefined ? undefined : getTensors(record.adapter);
    const splits = [
      { split: "test", sets: ownSets(partition, scenario, "test") },
      { split: "global-test", sets: [{ examples: partition.globalTest }] },
    ] as const;
    for (const { split, sets } of splits) {
      const wanted = { scenario, round, split };
      if (sets.every(({ examples }) => examples.length === 0) || findEvaluation(state, wanted) !== undefined) continue;
      const [result] = await evaluate([{ sets, ...(adapter && { adapter }) }], `${split === "test" ? "test rows" : "global test"}: ${scenario}`);
      if (result !== undefined) append({ type: "evaluated", at: now(), ...wanted, clients: [...result.clients], pooled: result.pooled, best: false });
    }
  }
}

/** The rows of one split that a scenario is judged by: the own ones of a client alone, else every client's. */
export function ownSets({ clients }: Partition, scenario: Judged, split: "validation" | "test"): readonly RowSet[] {
  const sets = clients.map((rows, client) => ({ client, examples: rows[split] }));
  return scenario.startsWith("local/") ? sets.filter(({ client }) => `local/${client}` === scenario) : sets;
}
