/** What a round of the federation takes: bytes as sent, time, memory, trainable parameters. */
import type { RoundCommitted } from "../facts.ts";
import { holderOf, seedsOf } from "./rows.ts";
import type { FoldedRun, Row, RowName } from "./rows.ts";
import { meanOf, medianOf } from "./statistics.ts";

export interface Efficiency {
  /** Bytes of one message to and from a client: mean over clients and rounds. Null where no client came through. */
  readonly bytesDown: number | null;
  readonly bytesUp: number | null;
  /** Messages each way. */
  readonly messages: number;
  /** Median over the rounds. */
  readonly secondsPerRound: number | null;
  readonly rounds: number;
  /** Most resident memory of the process that was seen in any round; null in runs that did not look. */
  readonly peakBytes: number | null;
}

export interface EfficiencyRow extends RowName, Efficiency {
  readonly trainableParameters: number;
  /** Parameters of the base, and those that the adapter adds. */
  readonly allParameters: number;
  readonly runs: readonly (Efficiency & { readonly seed: number; readonly run: string })[];
}

/** One line for each row whose federation has committed a round; its figures rest on the rounds of all seeds together. */
export function makeEfficiency(rows: readonly Row[]): readonly EfficiencyRow[] {
  return rows.flatMap((row) => {
    const holders = seedsOf(row).flatMap((seed) => holderOf(row, "federated", seed) ?? []).filter((holder) => roundsOf(holder).length > 0);
    const started = holders[0]?.facts.started;
    if (started === undefined) return [];
    return [{
      ...row.name,
      trainableParameters: started.trainableParameters,
      allParameters: started.allParameters ?? started.baseParameters + started.trainableParameters,
      ...measure(holders.flatMap(roundsOf)),
      runs: holders.map((holder) => ({ seed: holder.run.plan.seed, run: holder.run.name, ...measure(roundsOf(holder)) })),
    }];
  });
}

function roundsOf({ facts }: FoldedRun): readonly RoundCommitted[] {
  return facts.commits.get("federated") ?? [];
}

function measure(rounds: readonly RoundCommitted[]): Efficiency {
  const updates = rounds.flatMap((round) => round.updates);
  const meanBytes = (of: "bytesDown" | "bytesUp"): number | null => (updates.length === 0 ? null : meanOf(updates.map((update) => update[of])));
  const peaks = rounds.flatMap(({ peakBytes }) => peakBytes ?? []);
  return { bytesDown: meanBytes("bytesDown"), bytesUp: meanBytes("bytesUp"), messages: updates.length, secondsPerRound: medianOf(rounds.map(({ seconds }) => seconds)) ?? null, rounds: rounds.length, peakBytes: peaks.length === 0 ? null : Math.max(...peaks) };
}
