/** The state of a run as a fold of its journal: what is committed, what is evaluated, what is left to do. */
import { FedtuneError } from "../../core/base/errors.ts";
import type { JournalEvent, Scenario } from "./events.ts";

type EventOf<T extends JournalEvent["type"]> = Extract<JournalEvent, { type: T }>;
export type RoundCommitted = EventOf<"round-committed">;
export type Evaluated = EventOf<"evaluated">;
export type Split = Evaluated["split"];

export interface RunState {
  readonly started: EventOf<"run-started"> | undefined;
  readonly finished: EventOf<"run-finished"> | undefined;
  /** Committed rounds of each scenario, from round 1 without a gap. */
  readonly rounds: ReadonlyMap<Scenario, readonly RoundCommitted[]>;
  readonly evaluations: readonly Evaluated[];
  readonly samples: readonly EventOf<"sampled">[];
  readonly benchmarks: readonly EventOf<"benchmarked">[];
}

/** A run that has not begun. */
const EMPTY_RUN: RunState = { started: undefined, finished: undefined, rounds: new Map(), evaluations: [], samples: [], benchmarks: [] };

/** The state after one more event. Throws FedtuneError("data") for a round that does not follow the one before. */
export function applyEvent(state: RunState, event: JournalEvent): RunState {
  switch (event.type) {
    case "run-started":
      return { ...state, started: event };
    case "run-finished":
      return { ...state, finished: event };
    case "sampled":
      return { ...state, samples: [...state.samples, event] };
    case "benchmarked":
      return { ...state, benchmarks: [...state.benchmarks, event] };
    case "evaluated":
      return { ...state, evaluations: [...state.evaluations, event] };
    case "round-committed": {
      const before = committedRounds(state, event.scenario);
      if (event.round !== before.length + 1) {
        throw new FedtuneError("data", { where: `journal: ${event.scenario}`, expected: `round ${before.length + 1} to be committed next`, got: `round ${event.round}`, remedy: "The journal is damaged: restore it from a copy, or start the run anew" });
      }
      return { ...state, rounds: new Map(state.rounds).set(event.scenario, [...before, event]) };
    }
    case "run-resumed":
    case "round-started":
      return state;
    default:
      return event satisfies never;
  }
}

/** The state after all events, in order. */
export function replay(events: Iterable<JournalEvent>): RunState {
  let state = EMPTY_RUN;
  for (const event of events) state = applyEvent(state, event);
  return state;
}

/** The committed rounds of a scenario. */
export function committedRounds(state: RunState, scenario: Scenario): readonly RoundCommitted[] {
  return state.rounds.get(scenario) ?? [];
}

/** An evaluation that is already in the journal. */
export function findEvaluation(state: RunState, wanted: Pick<Evaluated, "scenario" | "round" | "split">): Evaluated | undefined {
  return state.evaluations.find(({ scenario, round, split }) => scenario === wanted.scenario && round === wanted.round && split === wanted.split);
}

/** Mean loss per labelled token (nats), or undefined where there is none or it is not finite. */
export function meanLoss(sum: { readonly nll: number | null; readonly labelledTokens: number }): number | undefined {
  return sum.nll === null || sum.labelledTokens === 0 ? undefined : sum.nll / sum.labelledTokens;
}

/** The lowest pooled validation loss of a scenario so far. */
export function bestLoss(state: RunState, scenario: Scenario): number {
  const losses = state.evaluations.filter((e) => e.scenario === scenario && e.split === "validation").map((e) => meanLoss(e.pooled) ?? Infinity);
  return Math.min(Infinity, ...losses);
}

/** The committed round of the lowest validation loss (`best`; the last where nothing was evaluated) or the last one; undefined before round 1. */
export function keptRound(state: RunState, scenario: Scenario, keep: "best" | "last"): RoundCommitted | undefined {
  const rounds = committedRounds(state, scenario);
  const best = state.evaluations.findLast((e) => e.scenario === scenario && e.split === "validation" && e.best);
  return keep === "best" && best !== undefined ? rounds[best.round - 1] : rounds.at(-1);
}
