/** What a run would do and take, without doing it: counts from the plan, time and memory from one step that is really taken. */
import { tensorBytes } from "../../federation/protocol/encode.ts";
import { bindAdapter } from "../../llm/adapters/all.ts";
import { describeLeftOut } from "../../llm/data/partition/left-out.ts";
import { expectedDeviceBytes } from "../../llm/training/pass-sizes.ts";
import { resolveCompute, resolveDevice } from "../../llm/training/resolve-runtime.ts";
import { prepareData, type PreparedData } from "./data.ts";
import { prepareModel, type PreparedModel } from "./model.ts";
import { resolvePlan, runtimeOf, type Plan } from "./plan.ts";
import { bundlesOf } from "./scenarios.ts";
import type { Experiment } from "./schema.ts";
import { createTrainers, type CreateTrainer } from "./trainers.ts";
import { sampleClients } from "../../federation/rounds/sampling.ts";

export interface DryRunOptions {
  readonly signal?: AbortSignal;
  /** Milliseconds of a clock that only goes forward; default: the process's. */
  readonly elapsedMs?: () => number;
  readonly createTrainer?: CreateTrainer;
}

export interface DryRun {
  readonly clients: readonly { readonly name: string; readonly train: number; readonly validation: number; readonly test: number }[];
  readonly globalTest: number;
  /** Values of partition.field that make no client. */
  readonly leftOut: readonly { readonly name: string; readonly rows: number }[];
  readonly tokens: number;
  readonly truncated: number;
  readonly dropped: number;
  readonly baseParameters: number;
  readonly trainableParameters: number;
  /** Parameters of the base and those that the adapter adds. */
  readonly allParameters: number;
  /** Bytes of a round of the federation, to and from all clients together. */
  readonly bytesPerRound: number;
  /** Optimiser steps of all scenarios together. */
  readonly steps: number;
  /** Resident memory of this process after a step, all workers and the base's pages included (bytes). */
  readonly memoryBytes: number;
  /** Memory that training should take on a device that has its own: base, values of the largest pass, parameters, gradients and moments (bytes); absent on a CPU. */
  readonly deviceBytes?: number;
  /** What the run's folder will hold (bytes). */
  readonly diskBytes: number;
  /** Bytes that a step copies between the host and the device's own memory; 0 on a CPU. */
  readonly copiedBytesPerStep: number;
  /** Seconds of one optimiser step of a client; of one labelled token's evaluation; of the whole run. */
  readonly secondsPerStep: number;
  readonly secondsPerEvaluatedToken: number;
  readonly seconds: number;
  readonly plan: Plan;
  /** All of it in words, a line each. */
  readonly lines: readonly string[];
}

/** Rows that the timed evaluation takes. */
const TIMED_ROWS = 8;

/** Prepares an experiment as a run would, takes one step and evaluates a few rows, and says what the whole would take. Nothing is written but caches. */
export async function dryRun(experiment: Experiment, options: DryRunOptions = {}): Promise<DryRun> {
  const { config } = experiment;
  const { signal } = options;
  const device = await resolveDevice(config.runtime);
  const model = await prepareModel(config, signal === undefined ? {} : { signal });
  const data = await prepareData(experiment, { tokenizer: model.tokenizer, ...(signal && { signal }) });
  const compute = await resolveCompute(config.runtime, { device, checkpoint: model.dtype });
  const plan = await resolvePlan(config, { model, data, device, compute });
  const timed = await timeOneStep(plan, data, options);
  const { clients, globalTest } = data.partition;
  const perRound = sampleClients(clients.map((_, i) => i), { seed: plan.seed, round: 1, fraction: plan.federation.fraction, atLeast: plan.federation.min_clients }).length;
  const steps = countSteps(plan, clients.length, perRound);
  const evaluatedTokens = countEvaluatedTokens(plan, data);
  const facts = {
    clients: clients.map(({ name, train, validation, test }) => ({ name, train: train.length, validation: validation.length, test: test.length })),
    globalTest: globalTest.length,
    leftOut: data.record.manifest.leftOut,
    tokens: data.report.tokens,
    truncated: data.report.truncated,
    dropped: data.report.dropped,
    baseParameters: model.parameters,
    trainableParameters: model.trainable,
    allParameters: model.allParameters,
    bytesPerRound: 2 * perRound * timed.adapterBytes,
    steps,
    memoryBytes: timed.memoryBytes,
    ...(device.device === "cpu" ? {} : { deviceBytes: expectedDeviceBytes(model.model, { runtime: runtimeOf(plan), packTokens: plan.resolved.pack_tokens, adapter: bindAdapter(plan.adapter, model.model) }, plan.training) }),
    diskBytes: countDisk(plan, clients.length, timed.adapterBytes),
    copiedBytesPerStep: timed.copiedBytes,
    secondsPerStep: timed.secondsPerStep,
    secondsPerEvaluatedToken: timed.secondsPerToken,
    seconds: (steps * timed.secondsPerStep) / plan.runtime.workers + (evaluatedTokens * timed.secondsPerToken) / plan.runtime.workers,
    plan,
  };
  return { ...facts, lines: describe(facts, { model, perRound, leftOut: describeLeftOut(data.record.manifest) }) };
}

interface Timed {
  readonly adapterBytes: number;
  readonly copiedBytes: number;
  readonly secondsPerStep: number;
  readonly secondsPerToken: number;
  readonly memoryBytes: number;
}

async function timeOneStep(plan: Plan, data: PreparedData, options: DryRunOptions): Promise<Timed> {
  const elapsedMs = options.elapsedMs ?? (() => performance.now());
  await using trainers = await createTrainers({ ...plan, runtime: { ...plan.runtime, workers: 1 } }, data, options.createTrainer);
  const { first: trainer } = trainers;
  const adapter = await trainer.initialAdapter();
  const signal = options.signal === undefined ? {} : { signal: options.signal };
  const group = data.partition.clients.slice(0, plan.resolved.clients_side_by_side);
  let copiedBytes = 0;
  const train = async (steps: number): Promise<number> => {
    const begun = elapsedMs();
    const jobs = group.map(({ train: examples }, client) => ({ client, round: 1, steps, stepsDone: 0, totalSteps: steps, adapter, examples }));
    await trainer.train(jobs, { ...signal, onStep: (report) => (copiedBytes = report.copiedBytes ?? 0) });
    return elapsedMs() - begun;
  };
  // The first call makes the sessions and warms the caches.
  await train(1);
  const stepMs = (await train(2)) / 2 / group.length;
  const rows = data.partition.clients.flatMap(({ validation, test, train: own }) => [...validation, ...test, ...own]).slice(0, TIMED_ROWS);
  const begun = elapsedMs();
  const [result] = await trainer.evaluate([{ adapter, examples: Int32Array.from(rows) }], signal);
  const tokenMs = (elapsedMs() - begun) / Math.max(1, result?.tokens ?? 1);
  return { adapterBytes: tensorBytes(adapter), copiedBytes, secondsPerStep: stepMs / 1000, secondsPerToken: tokenMs / 1000, memoryBytes: process.memoryUsage().rss };
}

function countSteps(plan: Plan, clients: number, perRound: number): number {
  const has = isCompared(plan);
  return plan.federation.rounds * plan.training.local_steps * (has("federated") * perRound + has("local") * clients + has("global"));
}

/** 1 for what is compared, else 0. */
function isCompared({ compare }: Plan): (name: Plan["compare"][number]) => number {
  return (name) => (compare.includes(name) ? 1 : 0);
}

function countEvaluatedTokens(plan: Plan, { dataset: { offsets }, partition: { clients, globalTest } }: PreparedData): number {
  const tokensOf = (rows: Int32Array): number => rows.reduce((sum, row) => sum + (offsets[row + 1] ?? 0) - (offsets[row] ?? 0), 0);
  const validation = clients.reduce((sum, c) => sum + tokensOf(c.validation), 0);
  const test = clients.reduce((sum, c) => sum + tokensOf(c.test), 0);
  const global = tokensOf(globalTest);
  const { rounds, evaluate_every: every } = plan.federation;
  const evaluations = Math.ceil(rounds / every);
  const has = isCompared(plan);
  const inRounds = validation * (evaluations * (has("federated") + has("global") + has("local")) + has("base"));
  const atEnd = (test + global) * (has("federated") + has("global") + has("base")) + has("local") * (test + clients.length * global);
  return inRounds + atEnd;
}

function countDisk(plan: Plan, clients: number, adapterBytes: number): number {
  const { rounds } = plan.federation;
  const scenarios = bundlesOf(plan, clients).flat();
  const adapters = scenarios.length * rounds + 2;
  // Two moments for each tensor, stored by each client in each round.
  const moments = plan.training.moments === "carry" ? 2 * rounds * scenarios.reduce((sum, s) => sum + Math.ceil(s.clients.length * s.fraction), 0) : 0;
  return (adapters + moments) * adapterBytes;
}

function describe(facts: Omit<DryRun, "lines">, { model, perRound, leftOut }: { readonly model: PreparedModel; readonly perRound: number; readonly leftOut: string }): readonly string[] {
  const { plan, clients } = facts;
  const sum = (which: "train" | "validation" | "test"): number => clients.reduce((total, c) => total + c[which], 0);
  const cut = [...(facts.truncated > 0 ? [`${number(facts.truncated)} cut`] : []), ...(facts.dropped > 0 ? [`${number(facts.dropped)} left out`] : [])];
  const { resolved } = plan;
  return [
    `Model      ${plan.model}: ${model.model.modelType}, ${number(facts.baseParameters)} parameters`,
    `Adapter    ${plan.adapter.method}, trainable params: ${number(facts.trainableParameters)} || all params: ${number(facts.allParameters)} || trainable%: ${((100 * facts.trainableParameters) / facts.allParameters).toFixed(4)}`,
    `Clients    ${clients.length}, ${perRound} in a round; rows: ${number(sum("train"))} train, ${number(sum("validation"))} validation, ${number(sum("test"))} test, ${number(facts.globalTest)} global test`,
    ...clients.map((c) => `           ${c.name}: ${number(c.train)} / ${number(c.validation)} / ${number(c.test)}`),
    ...(leftOut === "" ? [] : [`           ${leftOut}`]),
    `Tokens     ${number(facts.tokens)}${cut.length > 0 ? ` (rows: ${cut.join(", ")})` : ""}`,
    `Training   ${plan.federation.rounds} rounds of ${plan.training.local_steps} steps of ${plan.training.batch_size} examples; compared: ${plan.compare.join(", ")}; ${number(facts.steps)} steps in all`,
    `Traffic    ${bytes(facts.bytesPerRound)} a round, down and up together`,
    `Device     ${resolved.device}, computing in ${resolved.compute}${resolved.device_name === undefined ? "" : `: ${resolved.device_name}`}${facts.copiedBytesPerStep === 0 ? "" : `; ${bytes(facts.copiedBytesPerStep)} copied a step`}`,
    `Machine    ${resolved.threads} threads, ${plan.runtime.workers} workers, ${resolved.clients_side_by_side} clients side by side, ${resolved.tokens_per_micro_batch} tokens a pass${resolved.data_parallel === undefined ? "" : `, ${resolved.data_parallel} passes at a time`}`,
    `Memory     about ${bytes(facts.memoryBytes)} with one worker, pages of the model included${facts.deviceBytes === undefined ? "" : `; about ${bytes(facts.deviceBytes)} of the device's own`}`,
    `Disk       about ${bytes(facts.diskBytes)}`,
    `Time       about ${duration(facts.seconds)} (${facts.secondsPerStep.toPrecision(2)} s a step, measured just now)${plan.benchmarks.length === 0 ? "" : `; benchmarks (${plan.benchmarks.map(({ name, label = name }) => label).join(", ")}) not counted`}`,
  ];
}

function number(value: number): string {
  return value.toLocaleString("en-US");
}

function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, value)) / 3)));
  return `${(value / 1000 ** power).toPrecision(3)} ${units[power] ?? ""}`;
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
