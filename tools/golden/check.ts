/** Compares what fedtune gives for a recorded case with what PyTorch gave. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must } from "../../src/core/base/errors.ts";
import type { ComputeDType, NamedTensors } from "../../src/core/base/tensor.ts";
import { readSafetensors } from "../../src/core/formats/safetensors.ts";
import { exportMerged } from "../../src/llm/adapters/merge.ts";
import { readAdapterSettings, readAdapterTensors } from "../../src/llm/adapters/adapter-folder.ts";
import { openArchitecture } from "../../src/llm/architectures/all.ts";
import { type Case, readCase } from "./case.ts";
import { GoldenRun, type Means } from "./run.ts";

/** Largest differences allowed, by the measures of the recorded truths' README. */
type Measure = "saved" | "loss" | "merged_loss" | "base_loss" | "logits" | "gradients" | "change";
const TOLERANCES: Readonly<Record<ComputeDType, Readonly<Record<Measure, number>>>> = {
  float32: { saved: 1e-5, loss: 1e-5, merged_loss: 1e-5, base_loss: 1e-5, logits: 1e-4, gradients: 1e-4, change: 5e-3 },
  // About twice of what was seen; a change is some steps of AdamW, which makes whole steps of gradients that are little more than rounding.
  float16: { saved: 1e-5, loss: 1e-3, merged_loss: 1e-3, base_loss: 1e-3, logits: 7e-3, gradients: 5e-2, change: 5e-1 },
  bfloat16: { saved: 1e-5, loss: 5e-3, merged_loss: 5e-3, base_loss: 5e-3, logits: 3e-2, gradients: 2e-1, change: 5e-1 },
};
/** The largest differences of a case, by measure. */
export type Differences = Readonly<Partial<Record<Measure, number>>>;

/** ‖a − b‖ / ‖b‖. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, norm] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += ((a[i] ?? 0) - (b[i] ?? 0)) ** 2;
    norm += (b[i] ?? 0) ** 2;
  }
  return difference === 0 ? 0 : Math.sqrt(difference / norm);
}

/** The names under which fedtune may hold what PyTorch calls `name`, the likeliest first. */
function namesOf(name: string): readonly string[] {
  const plain = name.replace(".modules_to_save.default.", ".").replace(/\.default(?=\.|$)/, "");
  return [plain, plain.replace(/\.weight$/, ""), ...(plain === "prompt_encoder.embedding.weight" ? ["prompt_embeddings"] : [])];
}

/** Recorded tensors by fedtune's names. */
function recorded(path: string, known: ReadonlySet<string>): NamedTensors {
  return new Map([...readSafetensors(path).tensors].map(([name, t]) => [must(namesOf(name).find((n) => known.has(n)), `${path}: a tensor of fedtune's that is called ${name}`), t]));
}

/** The largest distance over named tensors; every recorded tensor must be there. */
function largestDistance(actual: NamedTensors<"float32">, expected: NamedTensors, value: (t: NamedTensors, name: string) => ArrayLike<number>): number {
  return Math.max(...[...expected.keys()].map((name) => distance(value(actual, name), value(expected, name))));
}

const valuesOf = (tensors: NamedTensors, name: string): ArrayLike<number> => Float64Array.from(must(tensors.get(name), name).data as ArrayLike<number>);

const relativeError = (actual: number, expected: number): number => Math.abs(actual - expected) / Math.abs(expected);

async function mergedLoss(run: GoldenRun, modelFolder: string, tensors: NamedTensors<"float32">, golden: Case, means: Means): Promise<number> {
  const out = mkdtempSync(join(tmpdir(), "fedtune-golden-"));
  try {
    const { model, adapter, opened } = run.opened;
    const { parameters, frozen } = await must(opened, "adapter").saved(tensors);
    exportMerged({ modelFolder, out: join(out, "merged") }, model, must(adapter, "adapter"), new Map([...parameters, ...frozen]));
    using merged = await GoldenRun.open(join(out, "merged"), undefined, golden, means);
    return await merged.loss(undefined);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

/** What a case compares: which architecture under which method, and who recorded it. */
export interface Subject {
  readonly architecture: string;
  readonly method: string;
  readonly witness: { readonly torch: string; readonly transformers: string; readonly peft: string };
}

/** The model of a case: its own, or one of the models that cases share. */
function modelFolderOf(folder: string, golden: Case, models: readonly string[]): string {
  const places = [join(folder, "model"), ...models.map((path) => join(path, golden.model))];
  return places.find((path) => existsSync(path)) ?? join(folder, "model");
}

/** What a case compares. */
export async function subjectOf(folder: string, models: readonly string[]): Promise<Subject> {
  const golden = readCase(folder);
  const { modelType } = await openArchitecture(modelFolderOf(folder, golden, models));
  const { torch, transformers, peft } = golden;
  return { architecture: modelType, method: readAdapterSettings(join(folder, "adapter")).method, witness: { torch, transformers, peft } };
}

/** The largest differences of one case, computed by some means: float32 on the CPU unless they are given. */
export async function checkCase(folder: string, models: readonly string[], means: Means = { device: "cpu", compute: "float32" }): Promise<Differences> {
  const golden = readCase(folder);
  const modelFolder = modelFolderOf(folder, golden, models);
  const adapterFolder = join(folder, "adapter");
  using run = await GoldenRun.open(modelFolder, adapterFolder, golden, means);
  const known = new Set(run.specs.map(({ name }) => name));
  const [before, after] = [recorded(join(folder, "before.safetensors"), known), recorded(join(folder, "after.safetensors"), known)];
  // Recorded tensors are float32.
  const start = before as NamedTensors<"float32">;
  const { trained, losses, gradient } = await run.train(start);
  const { logits, visible } = await run.logits(start);
  const { parameters } = await must(run.opened.opened, "adapter").saved(start);

  const onlyVisible = (data: ArrayLike<number>): Float64Array => Float64Array.from(data).filter((_, i) => visible[Math.floor(i / run.opened.model.vocabSize)] === true);
  const change = (end: NamedTensors, begin: NamedTensors) => (name: string) => Float64Array.from(valuesOf(end, name), (x, i) => x - (valuesOf(begin, name)[i] ?? 0));
  const [actualChange, expectedChange] = [change(trained, before), change(after, before)];
  return {
    saved: largestDistance(parameters, readAdapterTensors(adapterFolder, must(run.opened.adapter, "adapter")).parameters, valuesOf),
    loss: Math.max(...golden.losses.map((expected, i) => relativeError(losses[i] ?? Number.NaN, expected))),
    logits: distance(onlyVisible(logits.data as Float32Array), onlyVisible(must(readSafetensors(join(folder, "logits.safetensors")).tensors.get("logits"), "logits").data as Float32Array)),
    gradients: largestDistance(gradient, recorded(join(folder, "gradients.safetensors"), known), valuesOf),
    change: Math.max(...[...before.keys()].map((name) => distance(actualChange(name), expectedChange(name)))),
    ...(golden.merged_loss === undefined ? {} : { merged_loss: relativeError(await mergedLoss(run, modelFolder, start, golden, means), golden.merged_loss) }),
    ...(golden.base_loss === undefined ? {} : { base_loss: relativeError(await run.loss(undefined), golden.base_loss) }),
  };
}

/** Whether every difference is a number within its tolerance. */
export function withinTolerances(differences: Differences, compute: ComputeDType = "float32"): boolean {
  return Object.entries(TOLERANCES[compute]).every(([name, limit]) => {
    // The keys of a table of measures are measures, which Object.entries forgets.
    const value = differences[name as Measure];
    // No tensors to compare make the largest difference −Infinity: not a success.
    return value === undefined || (Number.isFinite(value) && value <= limit);
  });
}
