/** `fedtune bench step`: the time of a LoRA step and the memory it takes, in the fields of the PyTorch peer. */
import { performance } from "node:perf_hooks";
import { basename, resolve } from "node:path";
import { adapterSchema, createTrainer, openArchitecture, resolveRuntime, runtimeSchema, trainingSchema } from "../../llm/index.ts";
import type { EncodedDataset, StepReport } from "../../llm/index.ts";
import { FedtuneError } from "../../core/index.ts";
import { machine, versions } from "../../index.ts";
import { median, round } from "./figures.ts";
import { readModelFacts } from "./model-facts.ts";
import { trainingProducts } from "./products.ts";
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
  /** Clients side by side in each step, each with `batch` examples of random tokens. */
  readonly clients: number;
  /** Whether the bare products are measured too. */
  readonly products: boolean;
  readonly threads?: number;
  readonly tokensPerMicroBatch?: number;
  /** As `runtime.data_parallel`; absent: auto. */
  readonly dataParallel?: number;
  /** As `runtime.activation_memory`; absent: auto. */
  readonly activationMemory?: string;
  readonly signal?: AbortSignal;
}

/** One optimiser step of all clients. */
interface TimedStep {
  readonly ms: number;
  readonly losses: readonly number[];
  readonly tokens: number;
  readonly examples: number;
}

/** Gathers the reports of each step's clients; the time is that since the step before. */
function stepTimer(clients: number): { readonly steps: readonly TimedStep[]; readonly start: () => void; readonly onStep: (report: StepReport) => void } {
  const steps: TimedStep[] = [];
  let reports: StepReport[] = [];
  let last = performance.now();
  return {
    steps,
    start: () => {
      last = performance.now();
    },
    onStep: (report) => {
      reports.push(report);
      if (reports.length < clients) return;
      const now = performance.now();
      const total = (pick: (r: StepReport) => number): number => reports.reduce((sum, r) => sum + pick(r), 0);
      steps.push({ ms: now - last, losses: reports.map((r) => r.loss), tokens: total((r) => r.tokens), examples: total((r) => r.examples) });
      last = now;
      reports = [];
    },
  };
}

/** Runs warm-up and timed steps and returns one flat record. LoRA on q_proj and v_proj, alpha 2 r, AdamW at 1e-4. */
export async function benchStep(options: StepBenchOptions): Promise<Readonly<Record<string, unknown>>> {
  const { model, batch, tokens, data, warmup, clients } = options;
  const modelFolder = isShape(model) ? shapeFolder(model) : resolve(model);
  const facts = readModelFacts(modelFolder);
  if (data !== undefined && isShape(model)) throw new FedtuneError("config", { where: "--data", expected: "a model folder with a tokenizer", got: `the shape ${model}`, remedy: "Give a folder as --model" });
  if (data !== undefined && clients > 1) throw new FedtuneError("config", { where: "--clients", expected: "1 with --data", got: String(clients), remedy: "fedtune bench round trains clients on rows of a file" });
  const timedSteps = data === undefined ? options.steps : Math.ceil(options.examples / batch) - warmup;
  if (timedSteps < 1) throw new FedtuneError("config", { where: "--examples", expected: `more than ${warmup * batch} examples (${warmup} warm-up steps of ${batch})`, got: String(options.examples) });
  const steps = timedSteps + warmup;
  const rows = data === undefined ? randomRows(facts.vocabSize, batch * steps * clients, tokens) : await fileRows(modelFolder, data, options.examples, tokens);
  const architecture = await openArchitecture(modelFolder);
  const { linears, tensors } = architecture;
  const parameters = tensors.reduce((sum, { shape }) => sum + shape.reduce((n, d) => n * d, 1), 0);
  const runtime = await resolveRuntime(
    runtimeSchema.parse({
      threads: options.threads ?? "auto", base_precision: options.precision, tokens_per_micro_batch: options.tokensPerMicroBatch ?? "auto", clients_side_by_side: clients, data_parallel: options.dataParallel ?? "auto", activation_memory: options.activationMemory ?? "auto",
    }),
    { hiddenSize: facts.hiddenSize, clients, stepTokens: batch * tokens, rowTokens: tokens, parameters, linears, ...(isShape(model) ? {} : { opened: { folder: modelFolder, model: architecture } }) },
  );
  const timer = stepTimer(clients);
  {
    await using trainer = await createTrainer({
      modelFolder, runtime, data: rows, packTokens: tokens, seed: 0,
      adapter: adapterSchema.parse({ r: options.rank, lora_alpha: 2 * options.rank, target_modules: ["q_proj", "v_proj"] }),
      training: trainingSchema.parse({ learning_rate: 1e-4, batch_size: batch, max_grad_norm: 0, optimizer: { name: "adamw", weight_decay: 0.01 } }),
    });
    const adapter = await trainer.initialAdapter();
    const all = rows.offsets.length - 1;
    const each = Math.floor(all / clients);
    const jobs = Array.from({ length: clients }, (_, client) => ({
      client, round: 1, steps, stepsDone: 0, totalSteps: steps, adapter, examples: Int32Array.from({ length: clients === 1 ? all : each }, (__, i) => client * each + i),
    }));
    timer.start();
    await trainer.train(jobs, { onStep: timer.onStep, ...(options.signal === undefined ? {} : { signal: options.signal }) });
  }
  const peak = process.resourceUsage().maxRSS;
  const timed = timer.steps.slice(warmup);
  const times = timed.map((s) => s.ms);
  const total = (pick: (s: TimedStep) => number): number => timed.reduce((sum, s) => sum + pick(s), 0);
  const seconds = total((s) => s.ms) / 1000;
  const losses = timer.steps.flatMap((s) => s.losses);
  const share = options.products ? await productShare(linears, { rows, threads: runtime.threads, passTokens: Math.min(runtime.tokensPerMicroBatch, batch * tokens * clients), steps: timed, seconds }) : {};
  return {
    peer: "fedtune", ...versions(), machine: machine(), model: basename(model), mode: options.precision === "float32" ? "fp32" : options.precision, data: data === undefined ? null : basename(data),
    batch, tokens, clients, rank: options.rank, threads: runtime.threads, data_parallel: runtime.dataParallel ?? 1, tokens_per_micro_batch: runtime.tokensPerMicroBatch, activation_memory: options.activationMemory ?? "auto",
    median_step_ms: round(median(times), 1), min_step_ms: round(Math.min(...times), 1),
    tokens_per_s: round(data === undefined ? (clients * batch * tokens * 1000) / median(times) : total((s) => s.tokens) / seconds, 1),
    examples_per_s: round(total((s) => s.examples) / seconds, 3),
    padding: 0,
    peak_rss_mb: Math.round(peak / 1000),
    first_loss: losses[0] ?? null, mean_loss: losses.reduce((sum, loss) => sum + loss, 0) / losses.length,
    ...share,
  };
}

interface ProductShareOptions {
  readonly rows: EncodedDataset;
  readonly threads: number;
  /** Tokens of a pass, at most. */
  readonly passTokens: number;
  readonly steps: readonly TimedStep[];
  /** Time of all steps. */
  readonly seconds: number;
}

/** Labelled rows of one piece of the vocabulary product. */
const HEAD_ROWS = 256;

/** How long the bare products of the steps take, and which share of the steps' time that is. */
async function productShare(linears: readonly { readonly inFeatures: number; readonly outFeatures: number; readonly isHead: boolean }[], { rows, threads, passTokens, steps, seconds }: ProductShareOptions) {
  const tokens = steps.reduce((sum, s) => sum + s.tokens, 0);
  const labelled = tokens * (rows.labels.reduce((n, label) => n + (label >= 0 ? 1 : 0), 0) / rows.labels.length);
  const body = await trainingProducts(linears.filter((l) => !l.isHead).map((l) => ({ ...l, rows: passTokens })), threads);
  const head = await trainingProducts(linears.filter((l) => l.isHead).map((l) => ({ ...l, rows: HEAD_ROWS })), threads);
  const [passes, pieces] = [tokens / passTokens, labelled / HEAD_ROWS];
  const flop = body.flop * passes + head.flop * pieces;
  const productSeconds = body.seconds * passes + head.seconds * pieces;
  return {
    product_gflop_per_step: round(flop / steps.length / 1e9, 2), product_ms_per_step: round((productSeconds * 1000) / steps.length, 1),
    product_peak_gflops: round(flop / productSeconds / 1e9, 1), product_reached_gflops: round(flop / seconds / 1e9, 1), product_share: round(productSeconds / seconds, 3),
    product_counted: "float32 products with linear modules, as if every token went through all of them, and, for labelled rows, the output embedding: forward and with respect to their inputs; not attention, adapter and optimiser",
  };
}
