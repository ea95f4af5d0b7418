/** The training loop: steps of C clients side by side, each step exactly `batch_size` examples a client. */
import { interrupted, must } from "../../core/base/errors.ts";
import { elementCount, tensor } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import { optimizerState } from "../../engine/passes/optimizers.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { examplesOfStep } from "../data/order.ts";
import { stackClients } from "../data/stack.ts";
import type { StackedRows } from "../data/stack.ts";
import type { PackedRows } from "../data/types.ts";
import { batchFeeds } from "./batch-feeds.ts";
import { createControl } from "./step-control.ts";
import { dropoutFeeds } from "./dropout.ts";
import { flatSize, flatten, unflatten } from "./flat.ts";
import { isAnchored, trainedSpecs } from "./graphs.ts";
import type { OpenedAdapter, TrainingStart } from "./opened-adapter.ts";
import { packsOf } from "./packs.ts";
import { learningRate } from "./schedule.ts";
import type { SessionPool } from "./session-pool.ts";
import type { TrainerSetup } from "./setup.ts";
import type { StepReport, TrainFailure, TrainJob, TrainResult } from "./types.ts";

export interface LoopContext {
  readonly setup: TrainerSetup;
  readonly model: ArchitectureModel;
  readonly opened: OpenedAdapter;
  readonly sessions: SessionPool;
  readonly onStep: (report: StepReport) => void;
  readonly aborted: () => boolean;
}

/** Name of the state tensor that counts the steps taken, for AdamW's bias correction. */
const STEP_COUNT = "step";

/** Everything that changes while one client trains. */
interface ClientState {
  readonly job: TrainJob;
  updates: number;
  skipped: number;
  examples: number;
  tokens: number;
  readonly losses: number[];
  failure: TrainFailure | undefined;
}

/** Sum of each client's labelled losses, in float64. */
function sumByClient(nll: Tensor, batch: StackedRows, sums: Float64Array): void {
  nll.data.forEach((value: number | bigint, i: number) => {
    const client = Math.floor(i / batch.labelled);
    if (batch.weights[i] === 1) sums[client] = (sums[client] ?? 0) + Number(value);
  });
}

interface StepGradient {
  readonly gradients: Tensor;
  /** Summed loss and number of labelled tokens of each client. */
  readonly losses: Float64Array;
  readonly labelled: readonly number[];
}

async function stepGradient(context: LoopContext, packs: readonly (readonly PackedRows[])[], states: readonly ClientState[], stepInJob: number, fed: Readonly<Record<string, Tensor>> & { readonly parameters: Tensor }): Promise<StepGradient> {
  const { setup: { seed }, opened: { adapter, frozenFeeds } } = context;
  const { session, masks } = await context.sessions.train(states.length);
  const losses = new Float64Array(states.length);
  let gradients: Tensor = tensor("float32", fed.parameters.shape, new Float32Array(elementCount(fed.parameters.shape)));
  const passes = Math.max(...packs.map((p) => p.length));
  for (let pass = 0; pass < passes; pass++) {
    if (context.aborted()) throw interrupted("training");
    const inPass = packs.map((p) => p[pass]);
    const batch = stackClients(inPass);
    const counters = states.map(({ job }) => [job.client, job.stepsDone + stepInJob, pass] as const);
    const dropped = dropoutFeeds({ seed, p: adapter.dropout, masks }, inPass, counters, batch);
    const out = await session.run({ ...batchFeeds(batch, adapter), ...dropped, ...frozenFeeds, ...fed, accumulated: gradients });
    gradients = must(out["accumulated_out"], "accumulated_out");
    sumByClient(must(out["nll"], "nll"), batch, losses);
  }
  return { gradients, losses, labelled: packs.map((p) => p.reduce((n, pack) => n + pack.targets.length, 0)) };
}

function perClient(values: readonly number[]): Tensor {
  return tensor("float32", [values.length, 1], Float32Array.from(values));
}

/** Why a job cannot be begun at all. */
function refusalOf({ client, examples }: TrainJob): TrainFailure | undefined {
  return examples.length > 0 ? undefined : { ok: false, code: "data", reason: `client ${client} has no training examples` };
}

/** Trains one group. A client whose steps are not finite too often fails alone; its neighbours go on. */
export async function trainGroup(context: LoopContext, jobs: readonly TrainJob[]): Promise<readonly TrainResult[]> {
  const { opened, setup: { training, seed } } = context;
  const specs = trainedSpecs(opened.adapter);
  const size = flatSize(specs);
  const starts: TrainingStart[] = [];
  for (const job of jobs) starts.push(await opened.trainingStart(job.adapter));
  const stateNames = optimizerState(training.optimizer);
  const states = jobs.map((job): ClientState => ({ job, updates: job.optimizer?.get(STEP_COUNT)?.data[0] ?? 0, skipped: 0, examples: 0, tokens: 0, losses: [], failure: refusalOf(job) }));
  const stack = (fill: (job: TrainJob, row: Float32Array, i: number) => void): Tensor => {
    const data = new Float32Array(jobs.length * size);
    jobs.forEach((job, i) => fill(job, data.subarray(i * size, (i + 1) * size), i));
    return tensor("float32", [jobs.length, size], data);
  };
  let parameters = stack((_job, row, i) => flatten(must(starts[i], "start").trained, specs, row));
  const anchor = isAnchored(opened.adapter) ? { anchor: anchorsOf(starts) } : {};
  const controls = states.map(({ job }) => createControl(opened.adapter, job));
  let state = Object.fromEntries(stateNames.map((name) => [name, stack((job, row) => row.set(job.optimizer?.get(name)?.data ?? []))]));
  const optimizer = await context.sessions.optimizer();
  const steps = Math.max(0, ...jobs.map((job) => job.steps));

  for (let step = 0; step < steps; step++) {
    if (states.every((s) => s.failure !== undefined)) break;
    const packs = states.map(({ job }) => {
      // Nothing to do: no tokens, so a mean that is not finite, so a step that changes nothing.
      if (step >= job.steps || job.examples.length === 0) return [];
      const examples = examplesOfStep({ seed, client: job.client, examples: job.examples, step: job.stepsDone + step, batchSize: training.batch_size });
      return packsOf(context.setup, { model: context.model, adapter: opened.adapter }, examples);
    });
    const { gradients, losses, labelled } = await stepGradient(context, packs, states, step, { parameters, ...anchor });
    const rates = states.map(({ job }) => learningRate(training.learning_rate, training.schedule, job.stepsDone + step, job.totalSteps));
    const corrections = (beta: number): Tensor => perClient(states.map((s) => 1 - beta ** (s.updates + 1)));
    const out = await optimizer.run({
      parameters, gradients, ...state,
      tokens: perClient(labelled), loss: perClient([...losses]), learning_rate: perClient(rates),
      ...(training.optimizer.name === "adamw" ? { correction1: corrections(training.optimizer.betas[0]), correction2: corrections(training.optimizer.betas[1]) } : {}),
    });
    const before = parameters;
    parameters = must(out["parameters_out"], "parameters_out");
    state = Object.fromEntries(stateNames.map((name) => [name, must(out[`${name}_out`], name)]));
    states.forEach((client, i) => {
      if (packs[i]?.length === 0) return;
      const taken = Number(out["finite"]?.data[i] ?? 0) === 1;
      const loss = (losses[i] ?? 0) / (labelled[i] ?? 1);
      const [examples, tokens] = [packs[i]?.reduce((n, p) => n + p.examples, 0) ?? 0, packs[i]?.reduce((n, p) => n + p.tokens, 0) ?? 0];
      client.examples += examples;
      client.tokens += tokens;
      if (taken) {
        client.updates++;
        // Both are float32 by the graphs' types; results are this loop's own.
        const row = (t: Tensor): Float32Array => (t.data as Float32Array).subarray(i * size, (i + 1) * size);
        controls[i]?.afterStep({ step: client.job.stepsDone + step + 1, parameters: row(parameters), before: row(before), gradients: row(gradients), tokens: labelled[i] ?? 1 });
        client.losses.push(loss);
      } else if (++client.skipped > training.max_skipped_steps) {
        const reason = `${client.skipped} steps had a loss or gradient that is not finite (max_skipped_steps is ${training.max_skipped_steps}); a lower learning_rate may help`;
        client.failure ??= { ok: false, code: "federation", reason };
      }
      context.onStep({
        client: client.job.client, round: client.job.round, step: step + 1, loss: taken ? loss : Number.NaN, learningRate: rates[i] ?? 0,
        gradientNorm: Number(out["gradient_norm"]?.data[i] ?? 0), skipped: !taken, examples, tokens,
      });
    });
  }

  // A result is a slice of the group's tensors; `data` is float32 by the graph's types.
  const row = (t: Tensor, i: number): Float32Array => (t.data as Float32Array).slice(i * size, (i + 1) * size);
  const results: TrainResult[] = [];
  for (const [i, client] of states.entries()) {
    if (client.failure !== undefined) {
      results.push(client.failure);
      continue;
    }
    const moments = stateNames.map((name): [string, Tensor<"float32">] => [name, tensor("float32", [size], row(must(state[name], name), i))]);
    results.push({
      ok: true,
      adapter: await opened.trainingEnd(unflatten(row(parameters, i), specs), must(starts[i], "start")),
      optimizer: new Map([...moments, ...(controls[i]?.state ?? []), [STEP_COUNT, tensor("float32", [1], Float32Array.of(client.updates))]]),
      steps: client.job.steps - client.skipped, skippedSteps: client.skipped, examples: client.examples, tokens: client.tokens,
      loss: client.losses.reduce((a, b) => a + b, 0) / client.losses.length,
    });
  }
  return results;
}

/** `[C, P']` */
function anchorsOf(starts: readonly TrainingStart[]): Tensor {
  const rows = starts.map(({ anchor }) => must(anchor, "anchor"));
  const width = rows[0]?.length ?? 0;
  const data = new Float32Array(rows.length * width);
  rows.forEach((row, i) => data.set(row, i * width));
  return tensor("float32", [rows.length, width], data);
}
