/**
 * Does a run, or what is left of it: federation, baselines, last figures, samples, adapter. Whatever the journal already holds is
 * not done again. Preparing model and data, and making the run's folder, is left to `run.ts`.
 */
import { FedtuneError, interrupted, must } from "../../core/base/errors.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import { tensorBytes } from "../../federation/protocol/encode.ts";
import { createGroupWorker, type ClientMemory } from "../../federation/rounds/client.ts";
import { runFederations, type Coordination } from "../../federation/rounds/coordinator.ts";
import type { JournalEvent, Scenario, Tick } from "../../federation/rounds/events.ts";
import { applyEvent, findEvaluation, keptRound, replay, type RunState } from "../../federation/rounds/replay.ts";
import { loadStrategy } from "../../federation/strategies/load.ts";
import { createInProcessTransport } from "../../federation/transports/in-process.ts";
import type { PreparedData } from "./data.ts";
import { askBenchmarks } from "./benchmarks.ts";
import { createEvaluator, type Evaluator } from "./evaluator.ts";
import { evaluateOnTest, ownSets } from "./final-evaluation.ts";
import type { PreparedModel } from "./model.ts";
import { sampleText, writeAdapter } from "./outcome.ts";
import { watchMemory } from "./peak-memory.ts";
import { planHash, type Plan } from "./plan.ts";
import type { OpenRunStore } from "./run-store.ts";
import { bundlesOf, trainingRows, type Bundle } from "./scenarios.ts";
import type { Trainer } from "../../llm/training/types.ts";
import { createTrainers, type CreateTrainer, type Trainers } from "./trainers.ts";
import { machine, versions } from "./versions.ts";

export interface Execution {
  readonly folder: string;
  readonly plan: Plan;
  readonly model: PreparedModel;
  readonly data: PreparedData;
  readonly store: OpenRunStore;
  readonly clock: () => Date;
  readonly signal: AbortSignal;
  readonly createTrainer?: CreateTrainer;
}

/** What all stages share. */
interface Stage extends Execution {
  readonly trainers: Trainers;
  readonly initial: NamedTensors<"float32">;
  readonly evaluate: Evaluator;
  readonly now: () => string;
  readonly append: (event: JournalEvent) => void;
  readonly peakBytes: () => number;
  readonly state: () => RunState;
}

/** Runs to the end from wherever the journal stands. Throws FedtuneError("config") where it belongs to another plan. */
export async function executeRun(execution: Execution): Promise<void> {
  const { plan, store, clock, signal } = execution;
  let state = replay(store.events);
  requireSamePlan(state, plan);
  await using trainers = await createTrainers(plan, execution.data, execution.createTrainer);
  if (state.finished !== undefined) return await finishAgain(execution, trainers.first, state.finished.kept);
  const earlierMs = activeMs(store.events);
  const begun = clock();
  const now = (): string => clock().toISOString();
  const append = (event: JournalEvent): void => {
    store.append(event);
    state = applyEvent(state, event);
  };
  const initial = await begin(execution, { state, trainers, append });
  const tick = (event: Tick): void => store.tick(event);
  const evaluate = createEvaluator(trainers.all, { tick, now, signal });
  using memory = watchMemory();
  const stage: Stage = { ...execution, trainers, initial, evaluate, now, append, peakBytes: memory.take, state: () => state };
  await evaluateBase(stage);
  const bundles = bundlesOf(plan, execution.data.partition.clients.length);
  for (const bundle of bundles) state = await runBundle(bundle, stage);
  const judged = [...(plan.compare.includes("base") ? (["base"] as const) : []), ...bundles.flatMap((bundle) => bundle.map(({ scenario }) => scenario))];
  const getTensors = (hash: string): NamedTensors<"float32"> => store.getTensors(hash);
  await evaluateOnTest(judged, state, { ...stage, partition: stage.data.partition, keep: plan.federation.keep, getTensors });
  await askBenchmarks(judged, { ...stage, trainer: trainers.first, tick, getTensors });
  await sample(stage);
  if (signal.aborted) throw interrupted("export");
  await finish(stage, earlierMs + clock().getTime() - begun.getTime());
}

function requireSamePlan({ started }: RunState, plan: Plan): void {
  if (started === undefined || started.plan === planHash(plan)) return;
  throw new FedtuneError("config", { where: "experiment.yaml", expected: "the plan that the run was started with", got: "one that was changed since", remedy: "Undo the change, or start a new run with it" });
}

/** Notes the start, or the resumption, and returns the adapter before round 1. */
async function begin(execution: Execution, { state, trainers, append }: { readonly state: RunState; readonly trainers: Trainers; readonly append: (event: JournalEvent) => void }): Promise<NamedTensors<"float32">> {
  const { plan, model, data, store, clock } = execution;
  const at = clock().toISOString();
  if (state.started !== undefined) {
    append({ type: "run-resumed", at });
    return store.getTensors(must(state.started.initial, "the adapter before round 1"));
  }
  const initial = store.putTensors(await trainers.first.initialAdapter());
  const adapter = store.getTensors(initial);
  const { clients, globalTest } = data.partition;
  append({
    type: "run-started",
    journalVersion: 1,
    at,
    name: plan.name,
    plan: planHash(plan),
    versions: { ...versions() },
    machine: machine(),
    ...(plan.resolved.device === "cpu" ? {} : { device: [plan.resolved.device, plan.resolved.device_name ?? []].flat().join(", ") }),
    clients: clients.map(({ name, train, validation, test }) => ({ name, train: train.length, validation: validation.length, test: test.length })),
    globalTest: globalTest.length,
    trainableParameters: model.trainable,
    baseParameters: model.parameters,
    allParameters: model.allParameters,
    adapterBytes: tensorBytes(adapter),
    rounds: plan.federation.rounds,
    localSteps: plan.training.local_steps,
    batchSize: plan.training.batch_size,
    scenarios: bundlesOf(plan, clients.length).flatMap((bundle) => bundle.map(({ scenario }) => scenario)),
    initial,
  });
  return adapter;
}

function hasRows(stage: Stage, scenario: Scenario | "base"): boolean {
  return ownSets(stage.data.partition, scenario, "validation").some(({ examples }) => examples.length > 0);
}

async function evaluateBase({ plan, data, evaluate, append, now, ...stage }: Stage): Promise<void> {
  const wanted = { scenario: "base", round: 0, split: "validation" } as const;
  const sets = ownSets(data.partition, "base", "validation");
  if (!plan.compare.includes("base") || sets.every(({ examples }) => examples.length === 0) || findEvaluation(stage.state(), wanted) !== undefined) return;
  const [result] = await evaluate([{ sets }], "validation rows: base");
  if (result !== undefined) append({ type: "evaluated", at: now(), ...wanted, clients: [...result.clients], pooled: result.pooled, best: false });
}

async function runBundle(bundle: Bundle, stage: Stage): Promise<RunState> {
  const { plan, data, store, trainers, evaluate, now, signal, clock } = stage;
  const strategy = await loadStrategy(plan.federation.strategy);
  const memory: ClientMemory | undefined = plan.training.moments === "carry" ? new Map() : undefined;
  const scenarioOf = new Map(bundle.flatMap(({ scenario, clients }) => clients.map((client) => [client, scenario])));
  const site = {
    rows: trainingRows(data.partition, data.dataset),
    strategy,
    ...(memory && { memory }),
    onStep: ({ loss, gradientNorm, ...report }: Parameters<NonNullable<Parameters<typeof createGroupWorker>[1]["onStep"]>>[0]): void => {
      const scenario = must(scenarioOf.get(report.client), `scenario of client ${report.client}`);
      store.tick({ type: "step", at: now(), scenario, ...report, loss: finiteOrNull(loss), gradientNorm: finiteOrNull(gradientNorm) });
    },
  };
  await using transport = createInProcessTransport(trainers.all.map((trainer) => createGroupWorker(trainer, site)), plan.resolved.clients_side_by_side);
  const evaluated = bundle.every(({ scenario }) => hasRows(stage, scenario));
  const coordination: Coordination = {
    plan: {
      seed: plan.seed,
      rounds: plan.federation.rounds,
      localSteps: plan.training.local_steps,
      weighting: plan.federation.weighting,
      ...(evaluated && { evaluateEvery: plan.federation.evaluate_every }),
    },
    strategy,
    pairs: stage.model.factorPairs,
    store,
    transport,
    ...(memory && { memory }),
    initial: stage.initial,
    evaluate: (requests) =>
      evaluate(
        requests.map(({ scenario, adapter }) => ({ adapter, sets: ownSets(data.partition, scenario, "validation") })),
        `validation rows: ${bundle.length === 1 ? bundle[0]?.scenario : "clients alone"}`,
      ),
    clock,
    peakBytes: stage.peakBytes,
    signal,
  };
  return await runFederations(bundle, stage.state(), coordination);
}

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

async function sample(stage: Stage): Promise<void> {
  const { plan, store, trainers, append, now } = stage;
  const handedOver = handedOverScenario(plan);
  const kept = handedOver && must(keptRound(stage.state(), handedOver, plan.federation.keep), `the adapter of ${handedOver}`);
  for (const prompt of plan.samples.prompts) {
    for (const scenario of ["base", ...(handedOver === undefined ? [] : [handedOver])] as const) {
      if (stage.state().samples.some((s) => s.scenario === scenario && s.prompt === prompt)) continue;
      if (stage.signal.aborted) throw interrupted("samples");
      const text = await sampleText(trainers.first, prompt, scenario === "base" || kept === undefined ? undefined : store.getTensors(kept.adapter), stage);
      append({ type: "sampled", at: now(), scenario, prompt, text });
    }
  }
}

async function finish({ folder, plan, model, trainers, store, append, now, state }: Stage, elapsedMs: number): Promise<void> {
  const scenario = handedOverScenario(plan);
  const seconds = elapsedMs / 1000;
  if (scenario === undefined) return append({ type: "run-finished", at: now(), seconds });
  const { keep } = plan.federation;
  const best = must(keptRound(state(), scenario, "best"), "the best round");
  const last = must(keptRound(state(), scenario, "last"), "the last round");
  await writeAdapter(folder, store.getTensors((keep === "best" ? best : last).adapter), { plan, model, trainer: trainers.first });
  append({ type: "run-finished", at: now(), kept: { scenario, best: best.adapter, last: last.adapter, bestRound: best.round, lastRound: last.round, chosen: keep }, seconds });
}

/** Whose adapter a run hands over: the federation's, else that of all data pooled; clients alone have one each, and none is handed over. */
function handedOverScenario({ compare }: Plan): "federated" | "global" | undefined {
  return (["federated", "global"] as const).find((scenario) => compare.includes(scenario));
}

/** How long earlier processes were at work: from each start or resumption to the last event after it. */
function activeMs(events: readonly JournalEvent[]): number {
  const times = events.map(({ type, at }) => ({ begins: type === "run-started" || type === "run-resumed", ms: Date.parse(at) }));
  return times.reduce((sum, { begins, ms }, i) => sum + (begins ? 0 : ms - (times[i - 1]?.ms ?? ms)), 0);
}

/** A run that is done needs nothing but its adapter in place. */
async function finishAgain({ folder, plan, model, store, clock }: Execution, trainer: Trainer, kept: NonNullable<RunState["finished"]>["kept"]): Promise<void> {
  if (kept !== undefined) await writeAdapter(folder, store.getTensors(kept.chosen === "best" ? kept.best : kept.last), { plan, model, trainer });
  store.tick({ type: "note", at: clock().toISOString(), level: "info", text: `The run was finished already${kept === undefined ? "" : "; its adapter is in place"}.` });
}
