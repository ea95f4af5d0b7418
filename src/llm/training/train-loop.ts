/** The training loop: steps of C clients side by side, each step exactly `batch_size` examples a client. */
import { interrupted, must } from "../../core/base/errors.ts";
import { tensor, zeros } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import { optimizerState } from "../../engine/passes/optimizers.ts";
import { movedBytes } from "../../engine/runtime/resident.ts";
import type { Resident } from "../../engine/runtime/resident.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { examplesOfStep } from "../data/order.ts";
import { stackClients } from "../data/stack.ts";
import type { StackedRows } from "../data/stack.ts";
import type { PackedRows } from "../data/types.ts";
import { batchFeeds } from "./batch-feeds.ts";
import { createControl } from "./step-control.ts";
import type { ClientControl } from "./step-control.ts";
import { dropoutFeeds } from "./dropout.ts";
import { flatSize, flatten, unflatten } from "./flat.ts";
import { HeldTensors } from "./held-tensors.ts";
import { isAnchored, trainedSpecs } from "./graphs.ts";
import type { OpenedAdapter, TrainingStart } from "./opened-adapter.ts";
import { afterOverflow, afterTaken, scaleState, startScale, type LossScale } from "./loss-scale.ts";
import { packsOf } from "./packs.ts";
import { runSideBySide, sumInOrder } from "./side-by-side.ts";
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
/** Name of the state tensor with the loss scale. */
const LOSS_SCALE = "loss_scale";

/** Everything that changes while one client trains. */
interface ClientState {
  readonly job: TrainJob;
  updates: number;
  skipped: number;
  examples: number;
  tokens: number;
  readonly losses: number[];
  failure: TrainFailure | undefined;
  /** Whether its loss is scaled, and by how much now. */
  readonly scaled: boolean;
  scale: LossScale;
}

/** Sum of each client's labelled losses, in float64. */
function sumByClient(nll: Tensor, batch: StackedRows, sums: Float64Array): void {
  nll.data.forEach((value: number | bigint, i: number) => {
    const client = Math.floor(i / batch.labelled);
    if (batch.weights[i] === 1) sums[client] = (sums[client] ?? 0) + Number(value);
  });
}

interface StepLoss {
  /** Summed loss and number of labelled tokens of each client. */
  readonly losses: Float64Array;
  readonly labelled: readonly number[];
}

/** Leaves the summed gradient, times each client's loss scale, with `held`, as `gradients` `[C, P]`; `held` has `nothing` (zeros `[C, P]`) and what `fed` names. */
async function stepGradient(context: LoopContext, packs: readonly (readonly PackedRows[])[], states: readonly ClientState[], stepInJob: number, { held, fed }: { readonly held: HeldTensors; readonly fed: readonly string[] }): Promise<StepLoss> {
  const { setup: { seed }, opened: { adapter, frozenFeeds } } = context;
  const { session, replicas, masks } = await context.sessions.train(states.length);
  const losses = new Float64Array(states.length);
  const passes = Array.from({ length: Math.max(...packs.map((p) => p.length)) }, (_, pass) => {
    const inPass = packs.map((p) => p[pass]);
    const batch = stackClients(inPass, { multiple: context.sessions.attentionBlocks });
    const counters = states.map(({ job }) => [job.client, job.stepsDone + stepInJob, pass] as const);
    const feeds = (): Readonly<Record<string, Tensor>> => ({ ...batchFeeds(batch, adapter), ...scaledWeights(batch, states), ...dropoutFeeds({ seed, p: adapter.dropout, masks }, inPass, counters, batch), ...frozenFeeds });
    return { batch, feeds };
  });
  const check = (): void => {
    if (context.aborted()) throw interrupted("training");
  };
  if (replicas.length === 0 || passes.length < 2) {
    for (const { batch, feeds } of passes) {
      check();
      const accumulated = held.get(batch === passes[0]?.batch ? "nothing" : "gradients");
      const { host, kept } = await session.runKeeping({ ...feeds(), ...held.feeds(fed), accumulated });
      held.set("gradients", must(kept["accumulated_out"], "accumulated_out"));
      sumByClient(must(host["nll"], "nll"), batch, losses);
    }
  } else {
    const shared: Record<string, Tensor> = { accumulated: await held.get("nothing").read() };
    for (const name of fed) shared[name] = await held.get(name).read();
    const work = passes.map(({ batch, feeds }) => ({ size: batch.rows * batch.width, feeds: () => ({ ...feeds(), ...shared }) }));
    const outputs = await runSideBySide([session, ...replicas], work, check);
    outputs.forEach(({ nll }, i) => sumByClient(must(nll, "nll"), must(passes[i], "pass").batch, losses));
    held.set("gradients", await context.sessions.memory.keep(sumInOrder(outputs.map((out) => must(out["accumulated_out"], "accumulated_out")))));
  }
  return { losses, labelled: packs.map((p) => p.reduce((n, pack) => n + pack.targets.length, 0)) };
}

/** The seeds of the gradient where losses are scaled: weights float32 `[C, L]`. */
function scaledWeights(batch: StackedRows, states: readonly ClientState[]): Readonly<Record<string, Tensor>> {
  if (states.every(({ scaled }) => !scaled)) return {};
  const weights = batch.weights.map((w, i) => w * (states[Math.floor(i / batch.labelled)]?.scale.scale ?? 1));
  return { weights: tensor("float32", [batch.clients, batch.labelled], weights) };
}

/** Lowers the scale of clients whose gradient overflowed under a finite loss; whether there were any, so that the step is to be made again. */
function lowerScales(states: readonly ClientState[], { losses, finite }: { readonly losses: Float64Array; readonly finite: Tensor | undefined }): boolean {
  let lowered = false;
  states.forEach((client, i) => {
    const overflow = client.scaled && client.failure === undefined && Number(finite?.data[i] ?? 0) === 0 && (losses[i] ?? 0) !== 0 && Number.isFinite(losses[i]);
    const lower = overflow ? afterOverflow(client.scale) : undefined;
    if (lower === undefined) return;
    client.scale = lower;
    lowered = true;
  });
  return lowered;
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
  const { opened, setup: { training, seed, runtime: { compute } } } = context;
  const specs = trainedSpecs(opened.adapter);
  const size = flatSize(specs);
  const starts: TrainingStart[] = [];
  for (const job of jobs) starts.push(await opened.trainingStart(job.adapter));
  const stateNames = optimizerState(training.optimizer);
  const states = jobs.map((job): ClientState => ({ job, updates: job.optimizer?.get(STEP_COUNT)?.data[0] ?? 0, skipped: 0, examples: 0, tokens: 0, losses: [], failure: refusalOf(job), scaled: compute === "float16", scale: startScale(compute, job.optimizer?.get(LOSS_SCALE)) }));
  const { memory } = context.sessions;
  const stack = (fill: (job: TrainJob, row: Float32Array, i: number) => void): Promise<Resident> => {
    const data = new Float32Array(jobs.length * size);
    jobs.forEach((job, i) => fill(job, data.subarray(i * size, (i + 1) * size), i));
    return memory.keep(tensor("float32", [jobs.length, size], data));
  };
  using held = new HeldTensors();
  held.set("parameters", await stack((_job, row, i) => flatten(must(starts[i], "start").trained, specs, row)));
  held.set("nothing", await memory.keep(zeros("float32", [jobs.length, size])));
  const anchored = isAnchored(opened.adapter);
  if (anchored) held.set("anchor", await memory.keep(anchorsOf(starts)));
  const controls = states.map(({ job }) => createControl(opened.adapter, job));
  for (const name of stateNames) held.set(name, await stack((job, row) => row.set(job.optimizer?.get(name)?.data ?? [])));
  const optimizer = await context.sessions.optimizer();
  const steps = Math.max(0, ...jobs.map((job) => job.steps));

  for (let step = 0; step < steps; step++) {
    if (states.every((s) => s.failure !== undefined)) break;
    const movedBefore = movedBytes();
    const packs = states.map(({ job }) => {
      // Nothing to do: no tokens, so a mean that is not finite, so a step that changes nothing.
      if (step >= job.steps || job.examples.length === 0) return [];
      const examples = examplesOfStep({ seed, client: job.client, examples: job.examples, step: job.stepsDone + step, batchSize: training.batch_size });
      return packsOf(context.setup, { model: context.model, adapter: opened.adapter }, examples);
    });
    const rates = states.map(({ job }) => learningRate(training.learning_rate, training.schedule, job.stepsDone + step, job.totalSteps));
    const corrections = (beta: number): Tensor => perClient(states.map((s) => 1 - beta ** (s.updates + 1)));
    const take = async () => {
      const { losses, labelled } = await stepGradient(context, packs, states, step, { held, fed: ["parameters", ...(anchored ? ["anchor"] : [])] });
      const gradients = held.get(packs.some((p) => p.length > 0) ? "gradients" : "nothing");
      // What the gradient is divided by holds the loss's scale too.
      const denominators = labelled.map((n, i) => n * (states[i]?.scale.scale ?? 1));
      const { host, kept } = await optimizer.runKeeping({
        gradients, ...held.feeds(["parameters", ...stateNames]),
        tokens: perClient(denominators), loss: perClient([...losses]), learning_rate: perClient(rates),
        ...(training.optimizer.name === "adamw" ? { correction1: corrections(training.optimizer.betas[0]), correction2: corrections(training.optimizer.betas[1]) } : {}),
      });
      return { losses, labelled, denominators, gradients, out: host, kept };
    };
    let taking = await take();
    while (lowerScales(states, { losses: taking.losses, finite: taking.out["finite"] })) {
      for (const unused of Object.values(taking.kept)) unused[Symbol.dispose]();
      taking = await take();
    }
    const { losses, labelled, denominators, gradients, out, kept } = taking;
    const between = await betweenSteps(controls, { before: held.get("parameters"), after: must(kept["parameters_out"], "parameters_out"), gradients });
    for (const name of stateNames) held.set(name, must(kept[`${name}_out`], name));
    const after = movedBytes();
    const bytes = after.toDevice + after.toHost - movedBefore.toDevice - movedBefore.toHost;
    const copied = bytes === 0 ? {} : { copiedBytes: bytes };
    states.forEach((client, i) => {
      if (packs[i]?.length === 0) return;
      const taken = Number(out["finite"]?.data[i] ?? 0) === 1;
      const loss = (losses[i] ?? 0) / (labelled[i] ?? 1);
      const [examples, tokens] = [packs[i]?.reduce((n, p) => n + p.examples, 0) ?? 0, packs[i]?.reduce((n, p) => n + p.tokens, 0) ?? 0];
      client.examples += examples;
      client.tokens += tokens;
      const lossScale = client.scaled ? { lossScale: client.scale.scale } : {};
      if (taken) {
        client.updates++;
        if (client.scaled) client.scale = afterTaken(client.scale);
        const row = (t: Tensor<"float32">): Float32Array => t.data.subarray(i * size, (i + 1) * size);
        if (between !== undefined) controls[i]?.afterStep({ step: client.job.stepsDone + step + 1, parameters: row(between.after), before: row(between.before), gradients: row(between.gradients), tokens: denominators[i] ?? 1 });
        client.losses.push(loss);
      } else if (++client.skipped > training.max_skipped_steps) {
        const reason = `${client.skipped} steps had a loss or gradient that is not finite (max_skipped_steps is ${training.max_skipped_steps}); a lower learning_rate may help${compute === "float16" ? ", or runtime.compute=bfloat16 or float32: float16 ends at 65,504" : ""}`;
        client.failure ??= { ok: false, code: "federation", reason };
      }
      context.onStep({
        client: client.job.client, round: client.job.round, step: step + 1, loss: taken ? loss : Number.NaN, learningRate: rates[i] ?? 0,
        gradientNorm: Number(out["gradient_norm"]?.data[i] ?? 0), skipped: !taken, examples, tokens, ...copied, ...lossScale,
      });
    });
    held.set("parameters", between === undefined ? must(kept["parameters_out"], "parameters_out") : await memory.keep(between.after));
  }

  const ends = new Map<string, Tensor<"float32">>();
  for (const name of ["parameters", ...stateNames]) ends.set(name, await held.get(name).read());
  const row = (name: string, i: number): Float32Array => must(ends.get(name), name).data.slice(i * size, (i + 1) * size);
  const results: TrainResult[] = [];
  for (const [i, client] of states.entries()) {
    if (client.failure !== undefined) {
      results.push(client.failure);
      continue;
    }
    const moments = stateNames.map((name): [string, Tensor<"float32">] => [name, tensor("float32", [size], row(name, i))]);
    results.push({
      ok: true,
      adapter: await opened.trainingEnd(unflatten(row("parameters", i), specs), must(starts[i], "start")),
      optimizer: new Map([...moments, ...(controls[i]?.state ?? []), [STEP_COUNT, tensor("float32", [1], Float32Array.of(client.updates))], ...(client.scaled ? [[LOSS_SCALE, scaleState(client.scale)] as const] : [])]),
      steps: client.job.steps - client.skipped, skippedSteps: client.skipped, examples: client.examples, tokens: client.tokens,
      loss: client.losses.reduce((a, b) => a + b, 0) / client.losses.length,
    });
  }
  return results;
}

/** What adapters with a control look at between two steps, on the host; undefined where no client has one. The parameters after the step are freed where they were. */
async function betweenSteps(controls: readonly (ClientControl | undefined)[], step: Readonly<Record<"before" | "after" | "gradients", Resident>>): Promise<Readonly<Record<"before" | "after" | "gradients", Tensor<"float32">>> | undefined> {
  if (controls.every((control) => control === undefined)) return undefined;
  using after = step.after;
  return { before: await step.before.read(), after: await after.read(), gradients: await step.gradients.read() };
}

/** `[C, P']` */
function anchorsOf(starts: readonly TrainingStart[]): Tensor<"float32"> {
  const rows = starts.map(({ anchor }) => must(anchor, "anchor"));
  const width = rows[0]?.length ?? 0;
  const data = new Float32Array(rows.length * width);
  rows.forEach((row, i) => data.set(row, i * width));
  return tensor("float32", [rows.length, width], data);
}
