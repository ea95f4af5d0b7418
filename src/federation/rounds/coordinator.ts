/**
 * The rounds of one or more federations in lock step: task out, updates in, aggregate, commit, evaluate. Every transition is in the
 * journal before the next one relies on it; started again on the state that the journal folds to, it goes on to the same bytes.
 * Federations in lock step have no client in common; the baselines in which each client is alone train side by side this way.
 */
import { FedtuneError, interrupted, must } from "../../core/base/errors.ts";
import type { FactorPair } from "../../core/base/factor-pair.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import { PROTOCOL_VERSION, type Reply, type Task } from "../protocol/messages.ts";
import type { Transport } from "../protocol/transport.ts";
import type { FederationSettings } from "../strategies/settings.ts";
import type { Strategy } from "../strategies/types.ts";
import type { ClientMemory } from "./client.ts";
import type { EvaluationResult } from "./evaluation.ts";
import type { JournalEvent, Scenario } from "./events.ts";
import { applyEvent, bestLoss, committedRounds, findEvaluation, meanLoss, type RunState } from "./replay.ts";
import { sampleClients } from "./sampling.ts";
import { settleRound, type Settled } from "./settle.ts";
import { toSharedTensors } from "./shared-tensors.ts";
import type { RunStore } from "./store.ts";

/** One federation: a scenario and its clients. A baseline is a federation of one client. */
export interface Federation {
  readonly scenario: Scenario;
  readonly clients: readonly number[];
  /** Share of the clients that take part in a round. */
  readonly fraction: number;
  /** Updates that a round needs; 0: a round in which all fail leaves the adapter as it was. */
  readonly minClients: number;
}

export interface RoundsPlan extends Pick<FederationSettings, "rounds" | "weighting"> {
  readonly seed: number;
  /** Optimiser steps of a client in one round. */
  readonly localSteps: number;
  /** Rounds between two evaluations on validation rows; absent: none are evaluated. */
  readonly evaluateEvery?: number;
}

export interface Coordination {
  readonly plan: RoundsPlan;
  readonly strategy: Strategy;
  readonly pairs: readonly FactorPair[];
  readonly store: RunStore;
  readonly transport: Transport;
  /** Where simulated clients keep their moments between rounds; absent where they start anew. */
  readonly memory?: ClientMemory;
  /** The adapter before round 1. */
  readonly initial: NamedTensors<"float32">;
  /** Losses on the validation rows of each federation's clients, one result per federation. */
  readonly evaluate: (requests: readonly { readonly scenario: Scenario; readonly adapter: NamedTensors<"float32"> }[]) => Promise<readonly EvaluationResult[]>;
  readonly clock: () => Date;
  /** Most resident memory (bytes) seen since it was last asked; absent: not recorded. */
  readonly peakBytes?: () => number;
  readonly signal?: AbortSignal;
}

/** What a federation carries from round to round. */
interface Progress {
  readonly federation: Federation;
  readonly adapter: NamedTensors<"float32">;
  /** Blobs of the clients' moments. */
  readonly optimizers: Readonly<Record<string, string>>;
}

/**
 * Runs federations to the end of their last round, from wherever `state` has them, and returns the state after it.
 * @throws FedtuneError("interrupted") once the signal is aborted; ("federation") where too few clients answer; what store and trainers throw
 */
export async function runFederations(federations: readonly Federation[], state: RunState, c: Coordination): Promise<RunState> {
  const journal = new Journal(state, c);
  const done = Math.min(...federations.map(({ scenario }) => committedRounds(state, scenario).length));
  let progress: readonly Progress[] = federations.map((federation) => progressAt(federation, done, { state, c }));
  if (done > 0) await evaluateIfDue(done, progress, { journal, c });
  for (let round = done + 1; round <= c.plan.rounds; round++) {
    if (c.signal?.aborted === true) throw interrupted(`round ${round}`);
    progress = await runRound(round, progress, { journal, c });
    await evaluateIfDue(round, progress, { journal, c });
  }
  return journal.state;
}

/** Appends to the store and folds the state along. */
class Journal {
  state: RunState;
  readonly #c: Coordination;
  constructor(state: RunState, c: Coordination) {
    this.state = state;
    this.#c = c;
  }
  append(event: JournalEvent): void {
    this.#c.store.append(event);
    this.state = applyEvent(this.state, event);
  }
  now(): string {
    return this.#c.clock().toISOString();
  }
}
interface Context {
  readonly journal: Journal;
  readonly c: Coordination;
}

function progressAt(federation: Federation, round: number, { state, c }: { readonly state: RunState; readonly c: Coordination }): Progress {
  const record = committedRounds(state, federation.scenario)[round - 1];
  const optimizers = record?.optimizers ?? {};
  for (const client of federation.clients) {
    const hash = optimizers[client];
    if (hash === undefined) c.memory?.delete(client);
    else c.memory?.set(client, c.store.getTensors(hash));
  }
  const adapter = toSharedTensors(record === undefined ? c.initial : c.store.getTensors(record.adapter));
  return { federation, adapter, optimizers };
}

async function runRound(round: number, progress: readonly Progress[], { journal, c }: Context): Promise<readonly Progress[]> {
  const begun = c.clock();
  c.peakBytes?.();
  const sampled = progress.map((p) => {
    const { scenario, clients, fraction, minClients } = p.federation;
    const chosen = sampleClients(clients, { seed: c.plan.seed, round, fraction, atLeast: Math.min(minClients, clients.length) });
    if (!isCommitted(journal.state, scenario, round)) journal.append({ type: "round-started", at: journal.now(), scenario, round, clients: [...chosen] });
    requireAllTrainable(round, chosen, { names: [...p.adapter.keys()], strategy: c.strategy });
    return { progress: p, clients: chosen };
  });
  const remembered = new Map(c.memory);
  const tasks = sampled.flatMap(({ progress: { adapter }, clients }) => clients.map((client) => taskFor(client, round, { adapter, plan: c.plan })));
  const replies = await c.transport.send(tasks, c.signal === undefined ? {} : { signal: c.signal });
  const peakBytes = c.peakBytes?.();
  let next = 0;
  return sampled.map(({ progress: before, clients }) => {
    const own = clients.map((client) => ownReply(client, round, replies[next++]));
    const settled = settle(round, before, own, c);
    for (const { client } of settled.failures) restoreMemory(c.memory, client, remembered);
    return commit(round, before, settled, { journal, c, begun, peakBytes });
  });
}

/** Trainers learn every tensor of the adapter; a strategy that wants less must not be run as if it had been obeyed. */
function requireAllTrainable(round: number, clients: readonly number[], { names, strategy }: { readonly names: readonly string[]; readonly strategy: Strategy }): void {
  for (const client of clients) {
    const wanted = new Set(strategy.trainable(round, client, names));
    const left = names.find((name) => !wanted.has(name));
    if (left === undefined) continue;
    throw new FedtuneError("config", {
      where: `strategy ${strategy.name}, round ${round}, client ${client}`,
      expected: "all of the adapter's tensors to be trainable",
      got: `${wanted.size} of ${names.length}, without ${left}`,
      remedy: "Training a part of the adapter is not supported yet",
    });
  }
}

function taskFor(client: number, round: number, { adapter, plan }: { readonly adapter: NamedTensors<"float32">; readonly plan: RoundsPlan }): Task {
  const { localSteps, rounds } = plan;
  return { version: PROTOCOL_VERSION, kind: "task", round, client, steps: localSteps, stepsDone: (round - 1) * localSteps, totalSteps: rounds * localSteps, adapter };
}

/** The reply to a client's task; whatever else a transport brings is that client's failure. */
function ownReply(client: number, round: number, reply: Reply | undefined): Reply {
  if (reply?.client === client) return reply;
  const reason = reply === undefined ? "no reply" : `a reply that names client ${reply.client}`;
  return { version: PROTOCOL_VERSION, kind: "failure", round, client, code: "federation", reason };
}

function settle(round: number, { federation, adapter }: Progress, replies: readonly Reply[], c: Coordination): Settled {
  const { scenario, minClients } = federation;
  return settleRound(round, adapter, replies, { strategy: c.strategy, weighting: c.plan.weighting, pairs: c.pairs, minClients, scenario });
}

function commit(round: number, before: Progress, settled: Settled, { journal, c, begun, peakBytes }: Context & { readonly begun: Date; readonly peakBytes: number | undefined }): Progress {
  const { scenario } = before.federation;
  const hash = c.store.putTensors(settled.adapter);
  const optimizers = { ...before.optimizers, ...storeMoments(settled, c) };
  const earlier = committedRounds(journal.state, scenario)[round - 1];
  if (earlier !== undefined && earlier.adapter !== hash) {
    throw new FedtuneError("federation", {
      where: `${scenario}, round ${round}`,
      expected: "the adapter that was committed before the interruption",
      got: "other bytes",
      remedy: "The machine or its libraries changed since: start the run anew",
    });
  }
  if (earlier === undefined) {
    const { updates, failures, crossTerm } = settled;
    const now = c.clock();
    const seconds = (now.getTime() - begun.getTime()) / 1000;
    journal.append({ type: "round-committed", at: now.toISOString(), scenario, round, adapter: hash, optimizers, updates, failures, ...(crossTerm !== undefined && { crossTerm }), seconds, ...(peakBytes !== undefined && { peakBytes }) });
  }
  return { federation: before.federation, adapter: toSharedTensors(settled.adapter), optimizers };
}

function storeMoments({ updates }: Settled, { memory, store }: Coordination): Record<string, string> {
  if (memory === undefined) return {};
  return Object.fromEntries(updates.flatMap(({ client }) => {
    const moments = memory.get(client);
    return moments === undefined ? [] : [[String(client), store.putTensors(moments)]];
  }));
}

function restoreMemory(memory: ClientMemory | undefined, client: number, remembered: ClientMemory): void {
  const before = remembered.get(client);
  if (before === undefined) memory?.delete(client);
  else memory?.set(client, before);
}

async function evaluateIfDue(round: number, progress: readonly Progress[], { journal, c }: Context): Promise<void> {
  const { evaluateEvery, rounds } = c.plan;
  if (evaluateEvery === undefined || (round % evaluateEvery !== 0 && round !== rounds)) return;
  const isDone = ({ federation: { scenario } }: Progress): boolean => findEvaluation(journal.state, { scenario, round, split: "validation" }) !== undefined;
  if (progress.every(isDone)) return;
  // All of them, also those that a killed run had evaluated: what shares a call must not depend on when it was killed.
  const results = await c.evaluate(progress.map(({ federation: { scenario }, adapter }) => ({ scenario, adapter })));
  for (const [i, p] of progress.entries()) {
    if (isDone(p)) continue;
    const { scenario } = p.federation;
    const { clients, pooled } = must(results[i], `evaluation of ${scenario}`);
    const loss = meanLoss(pooled);
    const best = loss !== undefined && loss < bestLoss(journal.state, scenario);
    journal.append({ type: "evaluated", at: journal.now(), scenario, round, split: "validation", clients: [...clients], pooled, best });
  }
}

function isCommitted(state: RunState, scenario: Scenario, round: number): boolean {
  return committedRounds(state, scenario).length >= round;
}
