/**
 * `fedtune bench round`: rounds of simulated clients, as in a run: tasks out, updates checked, averaged, cross term, blob and
 * journal flushed. With a model and a file each client takes steps of one example on its own rows, the counterpart of the
 * Flower peer. Without, clients train nothing and tensors are copied from them as from another thread: what the federation
 * itself costs, the counterpart of the peer with `--steps 0`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { performance } from "node:perf_hooks";
import { normals, randomKey } from "../../core/index.ts";
import type { NamedTensors } from "../../core/index.ts";
import { createGroupWorker, createInProcessTransport, loadStrategy, replay, runFederations, tensorBytes } from "../../federation/index.ts";
import type { GroupWorker, Strategy } from "../../federation/index.ts";
import { machine, openRunStore, versions } from "../../index.ts";
import { adapterSchema, createTrainer, openArchitecture, resolveRuntime, runtimeSchema, trainingSchema } from "../../llm/index.ts";
import type { Trainer } from "../../llm/index.ts";
import { median, round } from "./figures.ts";
import { readModelFacts } from "./model-facts.ts";
import { fileRows, rowsByClient } from "./rows.ts";

export interface RoundBenchOptions {
  readonly clients: number;
  /** Absent: nothing is trained. */
  readonly training?: RoundTraining;
  /** Rounds that are counted. */
  readonly rounds: number;
}

export interface RoundTraining {
  /** Folder of a model with its tokenizer. */
  readonly model: string;
  readonly data: string;
  readonly precision: "float32" | "int8" | "int4";
  /** Steps of each client, of one example each; row k belongs to client ⌊k / steps⌋. */
  readonly steps: number;
  /** Rows are cut to so many tokens. */
  readonly tokens: number;
  readonly rank: number;
  readonly threads?: number;
  /** Workers that simulate clients at the same time, each with its own threads. */
  readonly workers: number;
}

/** The first rounds compile the loops and are not counted. */
const WARM_UP = 3;
/** 112 tensors of 8 × 512: LoRA of rank 8 at 56 modules, 1.8 MB, as the Flower peer sends. */
const MODULES = 56;
const FACTORS = [["lora_A", [8, 512]], ["lora_B", [512, 8]]] as const;

function adapterOfSize(): NamedTensors<"float32"> {
  const key = randomKey(1, "bench round");
  const named = Array.from({ length: MODULES }, (_, m) =>
    FACTORS.map(([factor, shape], f) => [`layer${m}.${factor}.weight`, { dtype: "float32" as const, shape, data: Float32Array.from(normals(key, [m, f], 4096)) }] as const),
  );
  return new Map(named.flat());
}

/** Returns what it got but for one number of its own, so that no two updates are equal; copied as from another thread. */
const idle: Pick<Trainer, "train"> = {
  train: (jobs) =>
    Promise.resolve(
      jobs.map(({ adapter, client }) => {
        const trained = new Map([...adapter].map(([name, t]) => [name, { ...t, data: t.data.slice() }]));
        for (const { data } of trained.values()) data[client] = (data[client] ?? 0) + 1e-3;
        return { ok: true as const, adapter: trained, optimizer: new Map(), steps: 0, skippedSteps: 0, examples: 0, tokens: 0, loss: 0 };
      }),
    ),
};

interface Federates {
  readonly workers: readonly GroupWorker[];
  readonly initial: NamedTensors<"float32">;
  readonly pairs: readonly { readonly a: string; readonly b: string; readonly scaling: number }[];
  readonly strategy: Strategy;
  /** Clients that one call of the worker trains. */
  readonly groupSize: number;
  readonly steps: number;
  readonly warmUp: number;
}

interface TimedRounds {
  /** Seconds of each counted round, sorted. */
  readonly seconds: readonly number[];
  /** Tokens that each client trained on in the last round. */
  readonly tokens: readonly number[];
}

async function timeRounds({ clients, rounds }: RoundBenchOptions, { workers, initial, pairs, strategy, groupSize, steps, warmUp }: Federates): Promise<TimedRounds> {
  const everyone = Array.from({ length: clients }, (_, k) => k);
  const folder = mkdtempSync(join(tmpdir(), "fedtune-bench-"));
  try {
    const seconds: number[] = [];
    const tokens: number[] = [];
    let begun = performance.now();
    using store = openRunStore(folder, (event) => {
      if (event.type === "round-started") begun = performance.now();
      if (event.type !== "round-committed") return;
      seconds.push((performance.now() - begun) / 1000);
      for (const update of event.updates) tokens[update.client] = update.tokens;
    });
    await using transport = createInProcessTransport(workers, groupSize);
    await runFederations([{ scenario: "federated", clients: everyone, fraction: 1, minClients: clients }], replay([]), {
      plan: { seed: 1, rounds: rounds + warmUp, localSteps: steps, weighting: "examples" },
      strategy, pairs, store, transport, initial,
      evaluate: async () => [],
      clock: () => new Date(),
    });
    return { seconds: seconds.slice(warmUp).toSorted((a, b) => a - b), tokens };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const recordOf = (seconds: readonly number[]) => ({ rounds: seconds.length, median_round_s: round(median(seconds), 4), min_round_s: round(seconds[0] ?? Number.NaN, 4) });

/** Runs the rounds in a temporary folder and returns one flat record. */
export async function benchRound(options: RoundBenchOptions): Promise<Readonly<Record<string, unknown>>> {
  const { clients, training } = options;
  const strategy = await loadStrategy("fedavg");
  if (training !== undefined) return await benchTrainedRound(options, training, strategy);
  const rows = new Map(Array.from({ length: clients }, (_, k) => [k, { examples: new Int32Array(10 + k), tokens: 1000 }] as const));
  const initial = adapterOfSize();
  const { seconds } = await timeRounds(options, {
    workers: [createGroupWorker(idle, { rows, strategy })], initial, strategy, groupSize: 1, steps: 0, warmUp: WARM_UP,
    pairs: Array.from({ length: MODULES }, (_, m) => ({ a: `layer${m}.lora_A.weight`, b: `layer${m}.lora_B.weight`, scaling: 2 })),
  });
  return { peer: "fedtune", ...versions(), machine: machine(), clients, steps: 0, adapter_bytes: tensorBytes(initial), ...recordOf(seconds) };
}

async function benchTrainedRound(options: RoundBenchOptions, training: RoundTraining, strategy: Strategy): Promise<Readonly<Record<string, unknown>>> {
  const { clients } = options;
  const { data, precision, steps, tokens, rank } = training;
  const begun = performance.now();
  const modelFolder = resolve(training.model);
  const dataset = await fileRows(modelFolder, data, clients * steps, tokens);
  const model = await openArchitecture(modelFolder);
  const runtime = await resolveRuntime(runtimeSchema.parse({ threads: training.threads ?? "auto", base_precision: precision }), {
    hiddenSize: readModelFacts(modelFolder).hiddenSize, clients, stepTokens: dataset.ids.length / (clients * steps), rowTokens: tokens, workers: training.workers, linears: model.linears, opened: { folder: modelFolder, model },
    parameters: model.tensors.reduce((sum, { shape }) => sum + shape.reduce((n, d) => n * d, 1), 0),
  });
  const setup = {
    modelFolder, runtime, data: dataset, packTokens: tokens, seed: 0,
    adapter: adapterSchema.parse({ r: rank, lora_alpha: 2 * rank, target_modules: ["q_proj", "v_proj"] }),
    training: trainingSchema.parse({ learning_rate: 1e-4, batch_size: 1, max_grad_norm: 0, local_steps: steps, optimizer: { name: "adamw", weight_decay: 0.01 } }),
  };
  await using made = new AsyncDisposableStack();
  const trainer = made.use(await createTrainer(setup));
  const trainers = [trainer];
  while (trainers.length < training.workers) trainers.push(made.use(await createTrainer(setup)));
  const rows = rowsByClient(dataset, { clients, steps });
  const initial = await trainer.initialAdapter();
  const pairs = [...initial.keys()].filter((name) => name.includes("lora_A")).map((a) => ({ a, b: a.replace("lora_A", "lora_B"), scaling: 2 }));
  const ready = (performance.now() - begun) / 1000;
  const { seconds, tokens: tokensByClient } = await timeRounds(options, { workers: trainers.map((t) => createGroupWorker(t, { rows, strategy })), initial, pairs, strategy, groupSize: runtime.clientsSideBySide, steps, warmUp: 1 });
  return {
    peer: "fedtune", ...versions(), machine: machine(), model: basename(modelFolder), mode: precision === "float32" ? "fp32" : precision, data: basename(data),
    clients, steps, tokens, threads: runtime.threads, workers: training.workers, clients_side_by_side: runtime.clientsSideBySide, adapter_bytes: tensorBytes(initial), ...recordOf(seconds),
    tokens_by_client: tokensByClient, tokens_per_s: round(dataset.ids.length / median(seconds), 1), ready_s: round(ready, 2), total_s: round((performance.now() - begun) / 1000, 2),
    peak_rss_mb: Math.round(process.resourceUsage().maxRSS / 1000),
  };
}
