/** One cell of the quality experiment: an adapter trained on a base of one precision and judged on both, kept as a JSON file. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { z } from "zod";
import { ensureWritableFolder, writeFileAtomic } from "../../src/core/index.ts";
import { machine, versions } from "../../src/index.ts";
import { adapterSchema, createTrainer, openArchitecture, resolveRuntime, runtimeSchema, trainingSchema } from "../../src/llm/index.ts";
import type { Trainer } from "../../src/llm/index.ts";
import type { QualityRows } from "./data.ts";

/** The bases that adapters are trained on and judged on. */
export const BASES = ["float32", "int8"] as const;
export type Base = (typeof BASES)[number];

const settingsSchema = z.strictObject({
  model: z.string(),
  dataset: z.enum(["dolly", "gsm8k", "shakespeare"]),
  seed: z.number(),
  /** "none": the model itself, without training. */
  trained_on: z.enum([...BASES, "none"]),
  steps: z.number(), batch: z.number(), tokens: z.number(), train_rows: z.number(), validation_rows: z.number(),
  learning_rate: z.number(), r: z.number(),
  /** What an 8-bit base is: cells made on an earlier form are made again. */
  form: z.string().default("probabilities by row, no module in float32"),
});
/** The form of 8-bit bases that cells are made on now (docs/decisions/0005-rounded-bases.md, points 3 and 9). */
export const FORM = "probabilities rounded by blocks of tokens, each layout of a weight by its own columns, modules with outliers in float32";
/** All that decides about a cell. */
export type CellSettings = z.infer<typeof settingsSchema>;

const cellSchema = z.strictObject({
  settings: settingsSchema,
  /** Mean loss over the labelled tokens of the held-out rows (nats), by the base that it is computed on. */
  validation: z.strictObject({ float32: z.number(), int8: z.number() }),
  /** Mean loss of the last fifth of the steps, on the base that was trained on; null without training. */
  last_training_loss: z.number().nullable(),
  labelled_tokens: z.number(),
  /** How the 8-bit base was held: signed or unsigned bytes, and what stayed float32. */
  held: z.string(),
  seconds: z.number(),
  machine: z.string(),
  versions: z.record(z.string(), z.unknown()),
});
export type Cell = z.infer<typeof cellSchema>;

const nameOf = ({ dataset, seed, trained_on }: CellSettings): string => (trained_on === "none" ? `${dataset}-base` : `${dataset}-seed${seed}-${trained_on}`);
const sameSettings = (a: CellSettings, b: CellSettings): boolean => JSON.stringify(settingsSchema.parse(a)) === JSON.stringify(settingsSchema.parse(b));

/** The finished cell of these settings; undefined where there is none yet. */
export function readCell(folder: string, settings: CellSettings): Cell | undefined {
  const path = join(folder, `${nameOf(settings)}.json`);
  if (!existsSync(path)) return undefined;
  const cell = cellSchema.parse(JSON.parse(readFileSync(path, "utf8")));
  return sameSettings(cell.settings, settings) ? cell : undefined;
}

/** What a cell is made from. */
export interface CellInputs {
  readonly modelFolder: string;
  readonly rows: QualityRows;
}

/** A trainer on a base of one precision, and how that base is held. */
async function open(base: Base, settings: CellSettings, { rows, modelFolder }: CellInputs): Promise<{ readonly trainer: Trainer; readonly held: string }> {
  const model = await openArchitecture(modelFolder);
  const { hiddenSize, tensors } = model;
  const parameters = tensors.reduce((sum, { shape }) => sum + shape.reduce((n, d) => n * d, 1), 0);
  const runtime = await resolveRuntime(runtimeSchema.parse({ base_precision: base }), { hiddenSize, clients: 1, stepTokens: settings.batch * settings.tokens, rowTokens: settings.tokens, parameters, linears: model.linears, opened: { folder: modelFolder, model } });
  const trainer = await createTrainer({
    modelFolder, runtime, data: rows.data, packTokens: settings.tokens, seed: settings.seed,
    adapter: adapterSchema.parse({ r: settings.r, lora_alpha: 2 * settings.r, target_modules: ["q_proj", "v_proj"] }),
    training: trainingSchema.parse({ learning_rate: settings.learning_rate, batch_size: settings.batch, schedule: { name: "linear", warmup_steps: 10 } }),
  });
  return { trainer, held: [runtime.basePrecision, ...(runtime.float32Modules ?? []).map((path) => `${path} in float32`)].join(", ") };
}

/** Trains (where the cell wants it), judges on both bases and writes the cell's file. */
export async function makeCell(folder: string, settings: CellSettings, inputs: CellInputs): Promise<Cell> {
  const { rows } = inputs;
  const started = performance.now();
  const { trained_on, steps } = settings;
  let adapter: Awaited<ReturnType<Trainer["initialAdapter"]>> | undefined;
  const losses: number[] = [];
  if (trained_on !== "none") {
    const { trainer: opened } = await open(trained_on, settings, inputs);
    await using trainer = opened;
    const job = { client: 0, round: 1, steps, stepsDone: 0, totalSteps: steps, adapter: await trainer.initialAdapter(), examples: rows.train };
    const [result] = await trainer.train([job], { onStep: ({ loss }) => losses.push(loss) });
    if (result?.ok !== true) throw new Error(`quality: ${nameOf(settings)}: ${result?.reason ?? "no result"}`);
    adapter = result.adapter;
  }
  const validation = { float32: NaN, int8: NaN };
  let [held, labelledTokens] = ["", 0];
  for (const base of BASES) {
    const { trainer: opened, held: form } = await open(base, settings, inputs);
    await using trainer = opened;
    const [result] = await trainer.evaluate([{ ...(adapter === undefined ? {} : { adapter }), examples: rows.validation }], {});
    if (result === undefined) throw new Error("quality: no evaluation");
    validation[base] = result.nll / result.labelledTokens;
    labelledTokens = result.labelledTokens;
    if (base === "int8") held = form;
  }
  const last = losses.slice(-Math.ceil(steps / 5));
  const cell: Cell = {
    settings, validation, last_training_loss: last.length === 0 ? null : last.reduce((a, b) => a + b, 0) / last.length,
    labelled_tokens: labelledTokens, held, seconds: Math.round((performance.now() - started) / 1000), machine: machine(), versions: versions(),
  };
  ensureWritableFolder(folder);
  writeFileAtomic(join(folder, `${nameOf(settings)}.json`), `${JSON.stringify(cell, null, 2)}\n`);
  return cell;
}
