/**
 * Checks folders of recorded PyTorch truths (made like `goldens/make.py`) against fedtune: one JSON line a case, exit 1 on failure.
 * Usage: npm run golden -- FOLDER… [--models DIR]
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { messageOf, must } from "../src/core/base/errors.ts";
import { tensor } from "../src/core/base/tensor.ts";
import type { NamedTensors, Tensor } from "../src/core/base/tensor.ts";
import { readSafetensors } from "../src/core/formats/safetensors.ts";
import { optimizerGraph, optimizerState } from "../src/engine/passes/optimizers.ts";
import { openSession } from "../src/engine/runtime/onnx-session.ts";
import type { Session } from "../src/engine/runtime/onnx-session.ts";
import { bindAdapter } from "../src/llm/adapters/all.ts";
import type { BoundAdapter } from "../src/llm/adapters/adapter.ts";
import { exportMerged } from "../src/llm/adapters/merge.ts";
import { importPeftTensors, readPeftSettings } from "../src/llm/adapters/peft.ts";
import { openArchitecture } from "../src/llm/architectures/all.ts";
import type { ArchitectureModel } from "../src/llm/architectures/architecture.ts";
import { prepareBase } from "../src/llm/architectures/prepared-base.ts";
import { flatSize, flatten, unflatten } from "../src/llm/training/flat.ts";
import { generateGraph, HIDDEN_POSITION, lossGraph, trainGraph } from "../src/llm/training/graphs.ts";

const TOLERANCES = { loss: 1e-5, merged_loss: 1e-5, base_loss: 1e-5, logits: 1e-4, gradients: 1e-4, change: 5e-3 } as const;

const rows = z.array(z.array(z.int()));
const caseSchema = z.object({
  input_ids: rows, labels: rows, attention_mask: rows, losses: z.array(z.number()), model: z.string(),
  optimizer: z.discriminatedUnion("name", [
    z.object({ name: z.literal("AdamW"), lr: z.number(), betas: z.tuple([z.number(), z.number()]), eps: z.number(), weight_decay: z.number(), steps: z.int() }),
    z.object({ name: z.literal("SGD"), lr: z.number(), momentum: z.number(), weight_decay: z.number(), steps: z.int() }),
  ]),
  merged_loss: z.number().optional(), base_loss: z.number().optional(),
});
type Case = z.infer<typeof caseSchema>;

interface Batch {
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly labelled: number;
}

/** The recorded batch: right-padded rows of one example each. */
function batchOf({ input_ids, labels, attention_mask }: Case): Batch {
  const [b, t] = [input_ids.length, input_ids[0]?.length ?? 0];
  const at: number[] = [];
  const targets: number[] = [];
  labels.forEach((row, r) => row.forEach((label, c) => {
    if (c === 0 || label === -100) return;
    at.push(r * t + c - 1);
    targets.push(label);
  }));
  const grid = (values: readonly number[]): Tensor => tensor("int32", [1, b, t], Int32Array.from(values));
  const line = (values: readonly number[]): Tensor => tensor("int32", [1, values.length], Int32Array.from(values));
  return {
    labelled: at.length,
    feeds: {
      ids: grid(input_ids.flat()), segments: grid(attention_mask.flat()), positions: grid(attention_mask.flatMap((row) => row.map((m, c) => (m === 1 ? c : 0)))),
      labelled_rows: line(at), targets: line(targets), weights: tensor("float32", [1, at.length], new Float32Array(at.length).fill(1)),
    },
  };
}

/** ‖a − b‖ / ‖b‖. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, norm] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += ((a[i] ?? 0) - (b[i] ?? 0)) ** 2;
    norm += (b[i] ?? 0) ** 2;
  }
  return Math.sqrt(difference / norm);
}

/** Recorded tensors by the name that an adapter file uses. */
function recorded(path: string): NamedTensors {
  return new Map([...readSafetensors(path).tensors].map(([name, t]) => [name.replace(".default.", "."), t]));
}

/** The largest distance over named tensors; every recorded tensor must be there. */
function largestDistance(actual: NamedTensors<"float32">, expected: NamedTensors, value: (t: NamedTensors, name: string) => ArrayLike<number>): number {
  return Math.max(...[...expected.keys()].map((name) => distance(value(actual, name), value(expected, name))));
}

const valuesOf = (tensors: NamedTensors, name: string): ArrayLike<number> => Float64Array.from(must(tensors.get(name), name).data as ArrayLike<number>);

/** A model under the case's adapter, and what the recorded batch gives. */
class GoldenRun {
  readonly model: ArchitectureModel;
  readonly adapter: BoundAdapter;
  readonly #open: (graph: Parameters<typeof openSession>[0]) => Promise<Session>;
  readonly #batch: Batch;

  private constructor(model: ArchitectureModel, adapter: BoundAdapter, open: GoldenRun["openGraph"], batch: Batch) {
    this.model = model;
    this.adapter = adapter;
    this.#open = open;
    this.#batch = batch;
  }

  static async open(modelFolder: string, adapterFolder: string, batch: Batch): Promise<GoldenRun> {
    const model = await openArchitecture(modelFolder);
    const base = await prepareBase(modelFolder, model);
    return new GoldenRun(model, bindAdapter(readPeftSettings(adapterFolder), model.linears), (graph) => openSession(graph, { threads: 1, weights: base.weights }), batch);
  }

  openGraph(graph: Parameters<typeof openSession>[0]): Promise<Session> {
    return this.#open(graph);
  }

  flat(tensors: NamedTensors<"float32"> | undefined): Tensor<"float32"> {
    const data = new Float32Array(flatSize(this.adapter.parameters));
    if (tensors !== undefined) flatten(tensors, this.adapter.parameters, data);
    return tensor("float32", [1, data.length], data);
  }

  async loss(parameters: Tensor): Promise<number> {
    using session = await this.#open(lossGraph(this, { clients: 1, maxLabelledRows: 64 }));
    const { nll } = await session.run({ ...this.#batch.feeds, parameters });
    return valuesSum(must(nll, "nll")) / this.#batch.labelled;
  }

  /** Logits `[B · T, V]`. */
  async logits(parameters: Tensor, { attention_mask }: Case): Promise<Tensor> {
    using session = await this.#open(generateGraph(this));
    const [b, t] = [attention_mask.length, attention_mask[0]?.length ?? 0];
    const empty = tensor("float32", [b, this.model.keyValueHeads, 0, this.model.headWidth], new Float32Array(0));
    const past = Object.fromEntries(Array.from({ length: this.model.layers }, (_, i) => [[`past_key_${i}`, empty], [`past_value_${i}`, empty]] as const).flat());
    const out = await session.run({
      ids: must(this.#batch.feeds["ids"], "ids"), positions: must(this.#batch.feeds["positions"], "positions"), parameters, ...past,
      key_positions: tensor("int32", [b, t], Int32Array.from(attention_mask.flatMap((row) => row.map((m, c) => (m === 1 ? c : HIDDEN_POSITION))))),
      rows: tensor("int32", [1, b * t], Int32Array.from({ length: b * t }, (_, i) => i)),
    });
    return must(out["logits"], "logits");
  }

  /** Losses before each step and after the last, the first gradient, and the trained parameters. */
  async train(start: Tensor<"float32">, { optimizer: settings }: Case) {
    const rule = settings.name === "AdamW"
      ? { name: "adamw" as const, betas: settings.betas, eps: settings.eps, weight_decay: settings.weight_decay }
      : { name: "sgd" as const, momentum: settings.momentum, weight_decay: settings.weight_decay };
    using session = await this.#open(trainGraph(this, { clients: 1, maxLabelledRows: 64, dropout: false }).graph);
    using optimizer = await openSession(optimizerGraph(rule, 0), { threads: 1 });
    const scalar = (x: number): Tensor => tensor("float32", [1, 1], Float32Array.of(x));
    const zeros = tensor("float32", start.shape, new Float32Array(start.data.length));
    let parameters: Tensor = start;
    let state = Object.fromEntries(optimizerState(rule).map((name): [string, Tensor] => [name, zeros]));
    const losses: number[] = [];
    let first: Float32Array | undefined;
    for (let step = 1; step <= settings.steps; step++) {
      const out = await session.run({ ...this.#batch.feeds, parameters, accumulated: zeros });
      const sum = must(out["accumulated_out"], "gradient");
      losses.push(valuesSum(must(out["nll"], "nll")) / this.#batch.labelled);
      first ??= Float32Array.from(sum.data as Float32Array, (x) => x / this.#batch.labelled);
      const corrections = rule.name === "adamw" ? { correction1: scalar(1 - rule.betas[0] ** step), correction2: scalar(1 - rule.betas[1] ** step) } : {};
      const updated = await optimizer.run({ parameters, gradients: sum, ...state, ...corrections, tokens: scalar(this.#batch.labelled), loss: scalar(1), learning_rate: scalar(settings.lr) });
      parameters = must(updated["parameters_out"], "parameters");
      state = Object.fromEntries(Object.keys(state).map((name) => [name, must(updated[`${name}_out`], name)]));
    }
    losses.push(await this.loss(parameters));
    return { losses, gradient: must(first, "gradient"), parameters };
  }

  named(flat: Tensor | Float32Array): NamedTensors<"float32"> {
    return unflatten(flat instanceof Float32Array ? flat : (flat.data as Float32Array), this.adapter.parameters);
  }
}

function valuesSum(t: Tensor): number {
  return Float64Array.from(t.data as Float32Array).reduce((a, b) => a + b, 0);
}

const relativeError = (actual: number, expected: number): number => Math.abs(actual - expected) / Math.abs(expected);

async function mergedLoss(run: GoldenRun, modelFolder: string, tensors: NamedTensors<"float32">, folders: { readonly adapter: string; readonly batch: Batch }): Promise<number> {
  const out = mkdtempSync(join(tmpdir(), "fedtune-golden-"));
  try {
    exportMerged({ modelFolder, out: join(out, "merged") }, run.model, run.adapter, tensors);
    const merged = await GoldenRun.open(join(out, "merged"), folders.adapter, folders.batch);
    return await merged.loss(merged.flat(undefined));
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

/** The largest differences of one case. */
export async function checkCase(folder: string, models: string): Promise<Readonly<Partial<Record<keyof typeof TOLERANCES, number>>>> {
  const golden = caseSchema.parse(JSON.parse(readFileSync(join(folder, "case.json"), "utf8")));
  const own = join(folder, "model");
  const modelFolder = existsSync(own) ? own : join(models, golden.model);
  const adapterFolder = join(folder, "adapter");
  const batch = batchOf(golden);
  const run = await GoldenRun.open(modelFolder, adapterFolder, batch);
  const tensors = importPeftTensors(adapterFolder, run.adapter);
  const start = run.flat(tensors);
  const trained = await run.train(start, golden);
  const logits = await run.logits(start, golden);

  const visible = golden.attention_mask.flat();
  const onlyVisible = (data: ArrayLike<number>): Float64Array => Float64Array.from(data).filter((_, i) => visible[Math.floor(i / run.model.vocabSize)] === 1);
  const [before, after] = [recorded(join(folder, "before.safetensors")), recorded(join(folder, "after.safetensors"))];
  const change = (end: NamedTensors, begin: NamedTensors) => (name: string) => Float64Array.from(valuesOf(end, name), (x, i) => x - (valuesOf(begin, name)[i] ?? 0));
  const [actualChange, expectedChange] = [change(run.named(trained.parameters), tensors), change(after, before)];
  return {
    loss: Math.max(...golden.losses.map((expected, i) => relativeError(trained.losses[i] ?? Number.NaN, expected))),
    logits: distance(onlyVisible(logits.data as Float32Array), onlyVisible(must(readSafetensors(join(folder, "logits.safetensors")).tensors.get("logits"), "logits").data as Float32Array)),
    gradients: largestDistance(run.named(trained.gradient), recorded(join(folder, "gradients.safetensors")), valuesOf),
    change: Math.max(...[...before.keys()].map((name) => distance(actualChange(name), expectedChange(name)))),
    ...(golden.merged_loss === undefined ? {} : { merged_loss: relativeError(await mergedLoss(run, modelFolder, tensors, { adapter: adapterFolder, batch }), golden.merged_loss) }),
    ...(golden.base_loss === undefined ? {} : { base_loss: relativeError(await run.loss(run.flat(undefined)), golden.base_loss) }),
  };
}

/** Whether every difference is a number within its tolerance. */
export function withinTolerances(differences: Readonly<Partial<Record<keyof typeof TOLERANCES, number>>>): boolean {
  return Object.entries(TOLERANCES).every(([name, limit]) => {
    const value = differences[name as keyof typeof TOLERANCES];
    return value === undefined || value <= limit;
  });
}

/** Case folders at or below a path, sorted. */
export function findCases(path: string): string[] {
  if (existsSync(join(path, "case.json"))) return [path];
  return readdirSync(path, { withFileTypes: true }).filter((e) => e.isDirectory()).flatMap((e) => findCases(join(path, e.name))).sort();
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { models: { type: "string", default: "../shared/models" } } });
  const roots = positionals.length > 0 ? positionals : ["../shared/goldens"];
  const cases = roots.flatMap((root) => findCases(resolve(root)));
  let failed = cases.length === 0 ? 1 : 0;
  if (cases.length === 0) console.error(`golden: expected folders with a case.json, got ${roots.join(", ")}.`);
  for (const folder of cases) {
    const name = relative(dirname(dirname(folder)), folder);
    try {
      const differences = await checkCase(folder, resolve(values.models));
      const ok = withinTolerances(differences);
      if (!ok) failed++;
      console.log(JSON.stringify({ case: name, ok, ...differences }));
    } catch (error) {
      failed++;
      console.log(JSON.stringify({ case: name, ok: false, error: messageOf(error) }));
    }
  }
  process.exitCode = failed > 0 ? 1 : 0;
}

if (basename(process.argv[1] ?? "") === "golden.ts") await main();
