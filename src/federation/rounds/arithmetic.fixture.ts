/**
 * A trainer that does arithmetic, for tests: each client pulls the adapter towards a target of its own, with momentum and a push
 * that depends on client, round and step. Same contract as the real one, without a model.
 */
import { setImmediate } from "node:timers/promises";
import { interrupted } from "../../core/base/errors.ts";
import { normals, randomKey } from "../../core/base/random.ts";
import { tensor, zeros, type NamedTensors } from "../../core/base/tensor.ts";
import type { EvaluateJob, EvaluateResult, StepReport, Trainer, TrainJob, TrainResult } from "../../llm/training/types.ts";

export const SHAPES: Readonly<Record<string, readonly number[]>> = { "q.lora_A.weight": [2, 5], "q.lora_B.weight": [3, 2] };
const key = randomKey(17, "arithmetic");

function draw(counter: readonly [number, number, number]): NamedTensors<"float32"> {
  return new Map(Object.entries(SHAPES).map(([name, shape], i) => [name, tensor("float32", shape, new Float32Array(normals(key, [counter[0], counter[1], counter[2] * 8 + i], zeros("float32", shape).data.length)))]));
}

function combine(a: NamedTensors<"float32">, b: NamedTensors<"float32">, f: (x: number, y: number) => number): NamedTensors<"float32"> {
  return new Map([...a].map(([name, { shape, data }]) => [name, tensor("float32", shape, data.map((x, i) => f(x, b.get(name)?.data[i] ?? 0)))]));
}

/** Where a client wants the adapter to be. */
export function target(client: number): NamedTensors<"float32"> {
  return draw([client, 0, 0]);
}

export interface ArithmeticOptions {
  /** Clients that fail, by round. */
  readonly failing?: (client: number, round: number) => boolean;
  /** Clients that return NaN, by round, as if they had trained. */
  readonly broken?: (client: number, round: number) => boolean;
  /** Told of each call of `train`: the clients of a group. */
  readonly onGroup?: (clients: readonly number[]) => void;
  readonly onJob?: (job: TrainJob) => void;
  /** Adds a little that depends on a client's place in its group, as a real device may. */
  readonly sensitiveToGrouping?: boolean;
}

export function createArithmeticTrainer(options: ArithmeticOptions = {}): Trainer {
  const trainOne = (job: TrainJob, place: number, onStep?: (report: StepReport) => void): TrainResult => {
    if (options.failing?.(job.client, job.round) === true) return { ok: false, code: "internal", reason: `client ${job.client} was told to fail` };
    options.onJob?.(job);
    let { adapter } = job;
    let moments = job.optimizer ?? combine(adapter, adapter, () => 0);
    let sum = 0;
    for (let step = 0; step < job.steps; step++) {
      const gradient = combine(combine(adapter, target(job.client), (x, t) => x - t), draw([job.client, job.round, step + 1]), (g, n) => g + 0.01 * n);
      moments = combine(moments, gradient, (m, g) => 0.9 * m + g);
      adapter = combine(adapter, moments, (x, m) => x - 0.05 * m * (options.sensitiveToGrouping === true ? 1 + place * 1e-3 : 1));
      const loss = squaredNorm(gradient);
      sum += loss;
      onStep?.({ client: job.client, round: job.round, step: step + 1, loss, learningRate: 0.05, gradientNorm: Math.sqrt(loss), skipped: false, examples: 2, tokens: 7 });
    }
    if (options.broken?.(job.client, job.round) === true) adapter = combine(adapter, adapter, () => NaN);
    return { ok: true, adapter, optimizer: moments, steps: job.steps, skippedSteps: 0, examples: 2 * job.steps, tokens: 7 * job.steps, loss: sum / job.steps };
  };
  const evaluateOne = ({ adapter, examples }: EvaluateJob): EvaluateResult => {
    const nll = [...examples].reduce((sum, example) => sum + squaredNorm(combine(target(example % 4), adapter ?? new Map(), (t, x) => x - t)), 0);
    return { nll, labelledTokens: 3 * examples.length, examples: examples.length, tokens: 5 * examples.length };
  };
  return {
    initialAdapter: async () => draw([99, 0, 0]),
    savedAdapter: async (adapter) => ({ parameters: adapter, frozen: new Map() }),
    train: async (jobs, { onStep, signal }) => {
      options.onGroup?.(jobs.map(({ client }) => client));
      await setImmediate();
      if (signal?.aborted === true) throw interrupted("training");
      return jobs.map((job, place) => trainOne(job, place, onStep));
    },
    evaluate: async (jobs, { signal }) => {
      await setImmediate();
      if (signal?.aborted === true) throw interrupted("evaluation");
      return jobs.map(evaluateOne);
    },
    score: async ({ texts }) => {
      await setImmediate();
      return texts.map(({ ids, branches }) => ({ losses: Float32Array.from(ids.slice(1)), branches: branches.map((branch) => Float32Array.from(branch.ids)) }));
    },
    grow: async ({ admit }) => {
      await setImmediate();
      return admit.map(({ id, prompt }) => ({ id, next: { token: prompt[0] ?? 0, logProbability: -0.5, top: [] } }));
    },
    generate: async ({ prompts, options: { maxNewTokens } }) => {
      await setImmediate();
      return prompts.map((prompt) => prompt.slice(0, maxNewTokens));
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

function squaredNorm(tensors: NamedTensors<"float32">): number {
  return [...tensors.values()].reduce((sum, { data }) => sum + data.reduce((s, x) => s + x * x, 0), 0);
}
