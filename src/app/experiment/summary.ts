/** What came out of a run, as a pure fold of its events: the figures of the final table and of the curves. How they look is left to others. */
import type { LossSum, RunEvent, Scenario } from "../../federation/rounds/events.ts";
import { meanLoss, replay, type Evaluated, type RunState, type Split } from "../../federation/rounds/replay.ts";

type Judged = Scenario | "base";

/** A loss on some rows; null where it is not finite or nothing was judged. */
export interface Figure {
  /** Mean loss per labelled token (nats). */
  readonly loss: number;
  /** exp(loss). */
  readonly perplexity: number;
  readonly labelledTokens: number;
}

/** One row of the final table: the same rows, judged by each adapter. */
export interface ResultRow {
  readonly base: Figure | null;
  /** The client alone; for several clients, all of them alone, each on its own rows (on the global test: their mean loss). */
  readonly local: Figure | null;
  readonly global: Figure | null;
  readonly federated: Figure | null;
}

export interface RunSummary {
  readonly name: string | undefined;
  readonly finished: boolean;
  /** Test rows of each client. */
  readonly clients: readonly (ResultRow & { readonly name: string })[];
  /** Test rows of all clients together. */
  readonly pooled: ResultRow;
  /** Rows without a client; null where there are none. */
  readonly globalTest: ResultRow | null;
  /** Training loss (mean over clients, by weight) and validation loss of each round, by scenario. */
  readonly rounds: readonly { readonly scenario: Scenario; readonly round: number; readonly trainingLoss: number | null; readonly validationLoss: number | null; readonly crossTerm: number | null }[];
  /** Bytes to and from each client over all rounds of the federation. */
  readonly bytes: readonly { readonly client: number; readonly down: number; readonly up: number }[];
  /** Training examples consumed; for `local` by all clients together. */
  readonly examplesSeen: { readonly federated: number; readonly global: number; readonly local: number };
}

/** Folds a run's events; an unfinished run gives what there is. */
export function summarise(events: Iterable<RunEvent>): RunSummary {
  const state = replay([...events].filter((event) => event.type !== "step" && event.type !== "note" && event.type !== "progress"));
  const clients = state.started?.clients ?? [];
  const globalTest = rowOf(state, "global-test", (e) => e.pooled, clients.length);
  return {
    name: state.started?.name,
    finished: state.finished !== undefined,
    clients: clients.map(({ name }, client) => ({ name, ...rowOf(state, "test", (e) => e.clients.find((c) => c.client === client), clients.length) })),
    pooled: rowOf(state, "test", (e) => e.pooled, clients.length),
    globalTest: Object.values(globalTest).every((figure) => figure === null) ? null : globalTest,
    rounds: [...state.rounds].flatMap(([scenario, rounds]) => rounds.map((r) => ({ scenario, round: r.round, trainingLoss: trainingLoss(r.updates), validationLoss: validationLoss(state, scenario, r.round), crossTerm: r.crossTerm ?? null }))),
    bytes: clients.map((_, client) => bytesOf(state, client)),
    examplesSeen: { federated: examplesSeen(state, (s) => s === "federated"), global: examplesSeen(state, (s) => s === "global"), local: examplesSeen(state, (s) => s.startsWith("local/")) },
  };
}

function rowOf(state: RunState, split: Split, pick: (evaluation: Evaluated) => LossSum | undefined, clients: number): ResultRow {
  const of = (scenario: Judged): LossSum | undefined => {
    const evaluation = state.evaluations.findLast((e) => e.scenario === scenario && e.split === split);
    return evaluation && pick(evaluation);
  };
  const alone = Array.from({ length: clients }, (_, client) => of(`local/${client}`)).filter((sum) => sum !== undefined);
  return { base: figure(of("base")), local: figure(addAll(alone)), global: figure(of("global")), federated: figure(of("federated")) };
}

function addAll(sums: readonly LossSum[]): LossSum | undefined {
  const [first, ...rest] = sums;
  return first && rest.reduce((a, b) => ({ nll: a.nll === null || b.nll === null ? null : a.nll + b.nll, labelledTokens: a.labelledTokens + b.labelledTokens, examples: a.examples + b.examples }), first);
}

function figure(sum: LossSum | undefined): Figure | null {
  const loss = sum && meanLoss(sum);
  return sum === undefined || loss === undefined ? null : { loss, perplexity: Math.exp(loss), labelledTokens: sum.labelledTokens };
}

type Updates = readonly { readonly client: number; readonly weight: number; readonly loss: number | null; readonly examples: number; readonly bytesDown: number; readonly bytesUp: number }[];

function trainingLoss(updates: Updates): number | null {
  const counted = updates.flatMap(({ weight, loss }) => (loss === null ? [] : [{ weight, loss }]));
  const total = counted.reduce((sum, { weight }) => sum + weight, 0);
  return total === 0 ? null : counted.reduce((sum, { weight, loss }) => sum + weight * loss, 0) / total;
}

function validationLoss(state: RunState, scenario: Scenario, round: number): number | null {
  const found = state.evaluations.find((e) => e.scenario === scenario && e.round === round && e.split === "validation");
  return (found && meanLoss(found.pooled)) ?? null;
}

function bytesOf(state: RunState, client: number): RunSummary["bytes"][number] {
  const own = (state.rounds.get("federated") ?? []).flatMap(({ updates }) => updates.filter((u) => u.client === client));
  return { client, down: own.reduce((sum, u) => sum + u.bytesDown, 0), up: own.reduce((sum, u) => sum + u.bytesUp, 0) };
}

function examplesSeen(state: RunState, which: (scenario: Scenario) => boolean): number {
  return [...state.rounds].filter(([scenario]) => which(scenario)).flatMap(([, rounds]) => rounds.flatMap(({ updates }) => updates)).reduce((sum, { examples }) => sum + examples, 0);
}
