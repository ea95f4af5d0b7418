/** Compares what fedtune gives for a recorded case with what PyTorch gave. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must } from "../../src/core/base/errors.ts";
import type { NamedTensors } from "../../src/core/base/tensor.ts";
import { readSafetensors } from "../../src/core/formats/safetensors.ts";
import { exportMerged } from "../../src/llm/adapters/merge.ts";
import { importPeftTensors } from "../../src/llm/adapters/peft.ts";
import { type Batch, batchOf, readCase } from "./case.ts";
import { GoldenRun } from "./run.ts";

/** Largest differences allowed, by the measures of the recorded truths' README. */
const TOLERANCES = { loss: 1e-5, merged_loss: 1e-5, base_loss: 1e-5, logits: 1e-4, gradients: 1e-4, change: 5e-3 } as const;
/** The largest differences of a case, by measure. */
export type Differences = Readonly<Partial<Record<keyof typeof TOLERANCES, number>>>;

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
export async function checkCase(folder: string, models: string): Promise<Differences> {
  const golden = readCase(folder);
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
export function withinTolerances(differences: Differences): boolean {
  return Object.entries(TOLERANCES).every(([name, limit]) => {
    const value = differences[name as keyof typeof TOLERANCES];
    // No tensors to compare make the largest difference −Infinity: not a success.
    return value === undefined || (Number.isFinite(value) && value <= limit);
  });
}
