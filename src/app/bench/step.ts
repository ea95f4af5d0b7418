/** `fedtune bench step`: the time of a LoRA step and the memory it takes, in the fields of the PyTorch peer. */
import { performance } from "node:perf_hooks";
import { basename, resolve } from "node:path";
import { adapterSchema, createTrainer, openArchitecture, resolveRuntime, runtimeSchema, trainingSchema } from "../../llm/index.ts";
import type { StepReport } from "../../llm/index.ts";
import { FedtuneError } from "../../core/index.ts";
import { machine, versions } from "../../index.ts";
import { readModelFacts } from "./model-facts.ts";
import { fileRows, randomRows } from "./rows.ts";
import { isShape, shapeFolder } from "./shapes.ts";

export interface StepBenchOptions {
  /** Folder of a model, or the name of a shape (random weights). */
  readonly model: string;
  readonly precision: "float32" | "int8" | "int4";
  readonly batch: number;
  readonly tokens: number;
  /** Rows of a file; absent: random tokens. */
  readonly data?: string;
  readonly examples: number;
  readonly steps: number;
  readonly warmup: number;
  readonly rank: number;
  readonly threads?: number;
  readonly tokensPerMicroBatch?: number;
  readonly signal?: AbortSignal;
}

interface Timed extends StepReport {
  readonly ms: number;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

const round = (x: number, digits: number): number => Number(x.toFixed(digits));

/** Runs warm-up and timed steps and returns one flat record. LoRA on q_proj and v_proj, alpha 2 r, AdamW at 1e-4. */
export async function benchStep(options: StepBenchOptions): Promise<Readonly<Record<string, unknown>>> {
  const { model, batch, tokens, data, warmup } = options;
  const modelFolder = isShape(model) ? shapeFolder(model) : resolve(model);
  const facts = readModelFacts(modelFolder);
  if (data !== undefined && isShape(model)) throw new FedtuneError("config", { where: "--data", expected: "a model folder with a tokenizer", got: `the shape ${model}`, remedy: "Give a folder as --model" });
  const timedSteps = data === undefined ? options.steps : Math.ceil(options.examples / batch) - warmup;
  if (timedSteps < 1) throw new FedtuneError("config", { where: "--examples", expected: `more than ${warmup * batch} examples (${warmup} warm-up steps of ${batch})`, got: String(options.examples) });
  const rows = data === undefined ? randomRows(facts.vocabSize, batch * (timedSteps + warmup), tokens) : await fileRows(modelFolder, data, options.examples, tokens);
  const parameters = (await openArchitecture(modelFolder)).tensors.reduce((sum, { shape }) => sum + shape.reduce((n, d) => n * d, 1), 0);
  const runtime = resolveRuntime(
    runtimeSchema.parse({ threads: options.threads ?? "auto", base_precision: options.precision, tokens_per_micro_batch: options.tokensPerMicroBatch ?? "auto" }),
    { hiddenSize: facts.hiddenSize, clients: 1, stepTokens: batch * tokens, parameters },
  );
  await using trainer = await createTrainer({
    modelFolder, runtime, data: rows, packTokens: tokens, seed: 0,
    adapter: adapterSchema.parse({ r: options.rank, lora_alpha: 2 * options.rank, target_modules: ["q_proj", "v_proj"] }),
    training: trainingSchema.parse({ learning_rate: 1e-4, batch_size: batch, max_grad_norm: 0, optimizer: { name: "adamw", weight_decay: 0.01 } }),
  });
  const steps: Timed[] = [];
  let last = performance.now();
  const onStep = (report: StepReport): void => {
    const now = performance.now();
    steps.push({ ...report, ms: now - last });
    last = now;
  };
  const job = { client: 0, round: 1, steps: timedSteps + warmup, stepsDone: 0, totalSteps: timedSteps + warmup, examples: Int32Array.from({ length: rows.offsets.length - 1 }, (_, i) => i) };
  const adapter = await trainer.initialAdapter();
  last = performance.now();
  await trainer.train([{ ...job, adapter }], { onStep, ...(options.signal === undefined ? {} : { signal: options.signal }) });

  const timed = steps.slice(warmup);
  const times = timed.map((s) => s.ms);
  const total = (pick: (s: Timed) => number): number => timed.reduce((sum, s) => sum + pick(s), 0);
  const seconds = total((s) => s.ms) / 1000;
  return {
    peer: "fedtune", ...versions(), machine: machine(), model: basename(model), mode: options.precision === "float32" ? "fp32" : options.precision, data: data === undefined ? null : basename(data),
    batch, tokens, threads: runtime.threads, tokens_per_micro_batch: runtime.tokensPerMicroBatch,
    median_step_ms: round(median(times), 1), min_step_ms: round(Math.min(...times), 1),
    tokens_per_s: round(data === undefined ? (batch * tokens * 1000) / median(times) : total((s) => s.tokens) / seconds, 1),
    examples_per_s: round(total((s) => s.examples) / seconds, 3),
    padding: 0,
    peak_rss_mb: Math.round(process.resourceUsage().maxRSS / 1000),
    first_loss: steps[0]?.loss ?? null, mean_loss: steps.reduce((sum, s) => sum + s.loss, 0) / steps.length,
  };
}
