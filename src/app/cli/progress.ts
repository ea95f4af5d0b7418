/**
 * How far a run is and how fast, as a pure fold of its events: what is trained, round, clients done, loss, tokens per second,
 * time left. Time comes from the events' `at`. Leaves drawing to the reporters.
 */
import type { RunEvent, Scenario } from "./api.ts";

/** What is trained one after another: the federation, all data pooled, and the clients alone (side by side, so one phase). */
export type Phase = "federated" | "pooled" | "alone";

interface PhaseProgress {
  /** Scenarios of this phase: 1, or as many as there are clients alone. */
  readonly scenarios: number;
  /** Clients that train in one round, over all of its scenarios. */
  readonly clientsPerRound: number;
  /** Rounds committed, over all of its scenarios. */
  readonly committed: number;
  /** Steps taken in rounds that are not committed yet, by scenario and client. */
  readonly openSteps: ReadonlyMap<string, number>;
  readonly startedAtMs: number | undefined;
  readonly lastAtMs: number;
}

interface RateSample {
  readonly atMs: number;
  /** Tokens trained in this process until then. */
  readonly tokens: number;
}

export interface Progress {
  readonly rounds: number;
  readonly localSteps: number;
  readonly phases: ReadonlyMap<Phase, PhaseProgress>;
  readonly phase: Phase | undefined;
  readonly round: number;
  /** Loss of the latest steps, smoothed; starts anew with each phase. */
  readonly loss: number | undefined;
  /** A preparation that is under way, or undefined while training. */
  readonly stage: { readonly name: string; readonly done: number; readonly total: number } | undefined;
  readonly startedAtMs: number | undefined;
  /** When and at how many steps this process began to train: what came before a resume says nothing about the pace now. */
  readonly paceFrom: { readonly atMs: number; readonly steps: number } | undefined;
  readonly lastAtMs: number;
  readonly tokens: number;
  readonly recent: readonly RateSample[];
  readonly finished: boolean;
}

/** What a reporter shows. */
export interface ProgressView {
  readonly phase: Phase | undefined;
  /** Phase from 1, and how many there are. */
  readonly phaseNumber: number;
  readonly phaseCount: number;
  readonly round: number;
  readonly rounds: number;
  readonly clientsDone: number;
  readonly clients: number;
  /** Nats per token. */
  readonly loss: number | undefined;
  readonly tokensPerSecond: number | undefined;
  /** Share of all steps of the run, 0 to 1. */
  readonly fraction: number;
  readonly secondsElapsed: number;
  readonly secondsLeft: number | undefined;
  readonly stage: Progress["stage"];
}

/** Before the first event. */
export const NO_PROGRESS: Progress = {
  rounds: 0, localSteps: 0, phases: new Map(), phase: undefined, round: 0, loss: undefined, stage: undefined,
  startedAtMs: undefined, paceFrom: undefined, lastAtMs: 0, tokens: 0, recent: [], finished: false,
};

/** Weight of the newest step in the smoothed loss. */
const LOSS_WEIGHT = 0.1;
/** The rate is that of about the last ten seconds, from samples half a second apart. */
const RATE_WINDOW_MS = 10_000;
const RATE_SPACING_MS = 500;
/** Less work than this says nothing about the pace. */
const LEAST_PACE_MS = 2_000;

/** The phase that a scenario belongs to. */
export function phaseOf(scenario: Scenario): Phase {
  return scenario === "federated" ? "federated" : scenario === "global" ? "pooled" : "alone";
}

/** Progress after one more event. */
export function addEvent(before: Progress, event: RunEvent): Progress {
  const atMs = Date.parse(event.at);
  const state: Progress = { ...before, lastAtMs: Math.max(before.lastAtMs, atMs), startedAtMs: before.startedAtMs ?? atMs };
  switch (event.type) {
    case "run-started":
      return { ...state, rounds: event.rounds, localSteps: event.localSteps, phases: countPhases(event.scenarios, event.clients.length) };
    case "run-resumed":
      // Steps of the round that was under way are taken again.
      return { ...state, startedAtMs: atMs, paceFrom: undefined, recent: [], tokens: 0, phases: new Map([...state.phases].map(([phase, p]) => [phase, { ...p, openSteps: new Map() }])) };
    case "round-started":
      return startRound(state, event.scenario, { round: event.round, clients: event.clients.length, atMs });
    case "step":
      return addStep(state, event, atMs);
    case "round-committed": {
      const phase = phaseOf(event.scenario);
      const p = state.phases.get(phase);
      if (p === undefined) return state;
      const openSteps = new Map([...p.openSteps].filter(([key]) => !key.startsWith(`${event.scenario} `)));
      return withPhase({ ...state, stage: undefined }, phase, { ...p, openSteps, committed: p.committed + 1, lastAtMs: atMs });
    }
    case "progress":
      return { ...state, stage: event.done < event.total ? { name: event.stage, done: event.done, total: event.total } : undefined };
    case "run-finished":
      return { ...state, stage: undefined, finished: true };
    case "evaluated":
    case "benchmarked":
    case "sampled":
    case "note":
      return state;
    default:
      return event satisfies never;
  }
}

function countPhases(scenarios: readonly Scenario[], clients: number): ReadonlyMap<Phase, PhaseProgress> {
  const phases = new Map<Phase, PhaseProgress>();
  for (const scenario of scenarios) {
    const phase = phaseOf(scenario);
    const count = (phases.get(phase)?.scenarios ?? 0) + 1;
    phases.set(phase, { scenarios: count, clientsPerRound: phase === "federated" ? clients : count, committed: 0, openSteps: new Map(), startedAtMs: undefined, lastAtMs: 0 });
  }
  return phases;
}

function startRound(state: Progress, scenario: Scenario, { round, clients, atMs }: { readonly round: number; readonly clients: number; readonly atMs: number }): Progress {
  const phase = phaseOf(scenario);
  const p = state.phases.get(phase);
  if (p === undefined) return state;
  const next: PhaseProgress = { ...p, clientsPerRound: phase === "federated" ? clients : p.clientsPerRound, startedAtMs: p.startedAtMs ?? atMs };
  const paceFrom = state.paceFrom ?? { atMs, steps: stepsDone(state) };
  const started = withPhase({ ...state, paceFrom, stage: undefined }, phase, next);
  return { ...started, phase, round, loss: phase === state.phase ? state.loss : undefined };
}

function addStep(state: Progress, step: Extract<RunEvent, { type: "step" }>, atMs: number): Progress {
  const phase = phaseOf(step.scenario);
  const p = state.phases.get(phase);
  const tokens = state.tokens + step.tokens;
  const { loss: before } = state;
  const loss = step.loss === null ? before : before === undefined ? step.loss : before + LOSS_WEIGHT * (step.loss - before);
  const next = { ...state, phase, round: step.round, tokens, loss, stage: undefined, recent: addSample(state.recent, { atMs, tokens }) };
  if (p === undefined) return next;
  return withPhase(next, phase, { ...p, openSteps: new Map(p.openSteps).set(`${step.scenario} ${step.client}`, step.step), lastAtMs: atMs });
}

function withPhase(state: Progress, phase: Phase, progress: PhaseProgress): Progress {
  return { ...state, phases: new Map(state.phases).set(phase, progress) };
}

/** Keeps the newest sample of each half second and one from before the window, so that a rate always spans it. */
function addSample(recent: readonly RateSample[], sample: RateSample): readonly RateSample[] {
  const beforeLast = recent.at(-2);
  const kept = beforeLast !== undefined && sample.atMs - beforeLast.atMs < RATE_SPACING_MS ? recent.slice(0, -1) : recent;
  const from = kept.findLastIndex((s) => sample.atMs - s.atMs >= RATE_WINDOW_MS);
  return [...kept.slice(Math.max(0, from)), sample];
}

/** Optimiser steps of single clients that are behind the run. */
function stepsDone(state: Progress): number {
  let steps = 0;
  for (const p of state.phases.values()) {
    steps += (p.committed / p.scenarios) * p.clientsPerRound * state.localSteps;
    for (const open of p.openSteps.values()) steps += open;
  }
  return steps;
}

function stepsInAll(state: Progress): number {
  let steps = 0;
  for (const p of state.phases.values()) steps += p.clientsPerRound * state.localSteps * state.rounds;
  return steps;
}

/** What to show at a moment (milliseconds since 1970). The time left runs down between events. */
export function viewProgress(state: Progress, nowMs: number): ProgressView {
  const phases = [...state.phases.keys()];
  const p = state.phase === undefined ? undefined : state.phases.get(state.phase);
  const all = stepsInAll(state);
  const done = stepsDone(state);
  const sinceLast = Math.max(0, nowMs - state.lastAtMs) / 1000;
  const left = secondsLeft(state, { done, all });
  return {
    phase: state.phase,
    phaseNumber: state.phase === undefined ? 0 : phases.indexOf(state.phase) + 1,
    phaseCount: phases.length,
    round: state.round,
    rounds: state.rounds,
    clientsDone: p === undefined ? 0 : countClientsDone(state, p),
    clients: p?.clientsPerRound ?? 0,
    loss: state.loss,
    tokensPerSecond: rate(state.recent),
    fraction: state.finished ? 1 : all === 0 ? 0 : Math.min(1, done / all),
    secondsElapsed: state.startedAtMs === undefined ? 0 : Math.max(0, nowMs - state.startedAtMs) / 1000,
    secondsLeft: left === undefined ? undefined : Math.max(0, left - sinceLast),
    stage: state.stage,
  };
}

/** Clients that have taken all steps of the running round; all of them between two rounds. */
function countClientsDone(state: Progress, p: PhaseProgress): number {
  const open = [...p.openSteps.values()];
  const committedThisRound = Math.max(0, p.committed - (state.round - 1) * p.scenarios) * (p.clientsPerRound / p.scenarios);
  return Math.min(p.clientsPerRound, committedThisRound + open.filter((steps) => steps >= state.localSteps).length);
}

function rate(recent: readonly RateSample[]): number | undefined {
  const first = recent[0];
  const last = recent.at(-1);
  if (first === undefined || last === undefined || last.atMs <= first.atMs) return undefined;
  return ((last.tokens - first.tokens) * 1000) / (last.atMs - first.atMs);
}

/** From the pace of this process, evaluations and commits included. */
function secondsLeft(state: Progress, { done, all }: { readonly done: number; readonly all: number }): number | undefined {
  const { paceFrom } = state;
  if (state.finished) return 0;
  if (paceFrom === undefined) return undefined;
  const spentMs = state.lastAtMs - paceFrom.atMs;
  const steps = done - paceFrom.steps;
  return steps <= 0 || spentMs < LEAST_PACE_MS ? undefined : ((all - done) * spentMs) / steps / 1000;
}
