/** What tests of training share: a folder of their own, random examples, adapters whose B is not 0, setups and models opened by them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { must } from "../../src/core/base/errors.ts";
import { normals, randomKey, uniforms } from "../../src/core/base/random.ts";
import { elementCount, tensor, type NamedTensors, type Tensor } from "../../src/core/base/tensor.ts";
import type { BoundAdapter, MergeRule, ParameterSpec } from "../../src/llm/adapters/adapter.ts";
import type { StartContext } from "../../src/llm/adapters/all.ts";
import { lora } from "../../src/llm/adapters/lora.ts";
import type { AdapterSettings } from "../../src/llm/adapters/settings.ts";
import { IGNORED_LABEL, type EncodedDataset } from "../../src/llm/data/types.ts";
import { createLocalTrainer, openModel, type OpenedModel } from "../../src/llm/training/local-trainer.ts";
import type { OpenedAdapter } from "../../src/llm/training/opened-adapter.ts";
import { trainingSchema } from "../../src/llm/training/settings.ts";
import type { TrainerSetup } from "../../src/llm/training/setup.ts";
import type { Trainer, TrainFailure, TrainJob, TrainResult, TrainSuccess } from "../../src/llm/training/types.ts";

/** A folder that is removed after the tests of the file, with fedtune's cache inside it. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "fedtune-llm-"));
  process.env["FEDTUNE_CACHE"] = join(folder, "cache");
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Random examples of these lengths; the first third of each is a prompt without labels, the second token from the end has none either. */
export function randomDataset(lengths: readonly number[], vocabSize: number, seed = 5): EncodedDataset {
  const total = lengths.reduce((a, b) => a + b, 0);
  const shared = (n: number): Int32Array<SharedArrayBuffer> => new Int32Array(new SharedArrayBuffer(4 * n));
  const [ids, labels, offsets] = [shared(total), shared(total), shared(lengths.length + 1)];
  ids.set(uniforms(randomKey(seed, "ids"), [], total).map((u) => Math.floor(u * vocabSize)));
  labels.fill(IGNORED_LABEL);
  lengths.forEach((length, i) => {
    const start = offsets[i] ?? 0;
    offsets[i + 1] = start + length;
    for (let p = Math.ceil(length / 3); p < length; p++) if (p !== length - 2) labels[start + p] = ids[start + p] ?? 0;
  });
  return { ids, labels, offsets };
}

/** Random values for every tensor of an adapter, B included. */
export function randomAdapter(specs: readonly ParameterSpec[], seed = 11): NamedTensors<"float32"> {
  return new Map(specs.map(({ name, shape }): [string, Tensor<"float32">] => {
    const draws = normals(randomKey(seed, name), [], elementCount(shape));
    return [name, tensor("float32", shape, Float32Array.from(draws, (x) => 0.2 * x))];
  }));
}

/** For adapters that start from the seed alone. */
export const NO_SOURCES: StartContext = {
  base: (name) => { throw new Error(`expected a start from the seed, got one from ${name}`); },
  tokenize: (text) => { throw new Error(`expected a start from the seed, got one from "${text}"`); },
};

/** How an adapter is folded into its base. Throws where it cannot be. */
export function mergeRuleOf({ merge }: BoundAdapter): MergeRule {
  if (typeof merge === "function") return merge;
  throw new Error(`expected an adapter that merges, got ${merge.none}`);
}

export interface SetupChanges {
  readonly adapter?: Readonly<Record<string, unknown>>;
  readonly training?: Readonly<Record<string, unknown>>;
  readonly clientsSideBySide?: number;
  readonly tokensPerMicroBatch?: number;
}

/** A setup whose adapter is a LoRA. */
export type TinySetup = TrainerSetup & { readonly adapter: Extract<AdapterSettings, { method: "lora" }> };

/** A setup of one thread with rows of 24 tokens, rank 3 on every linear module, three examples a step. */
export function tinySetup(modelFolder: string, data: EncodedDataset, changes: SetupChanges = {}): TinySetup {
  return {
    modelFolder, data, packTokens: 24, seed: 17,
    adapter: lora.schema.parse({ r: 3, lora_alpha: 5, target_modules: "all-linear", ...changes.adapter }),
    training: trainingSchema.parse({ batch_size: 3, learning_rate: 0.01, optimizer: { name: "adamw", weight_decay: 0.1 }, ...changes.training }),
    runtime: { device: "cpu", threads: 1, basePrecision: "float32", compute: "float32", clientsSideBySide: changes.clientsSideBySide ?? 1, tokensPerMicroBatch: changes.tokensPerMicroBatch ?? 1000 },
  };
}

/** Opens the model of a setup that has an adapter. */
export async function openAdapted(setup: TrainerSetup): Promise<OpenedModel & { readonly adapter: BoundAdapter; readonly opened: OpenedAdapter }> {
  const opened = await openModel(setup);
  return { ...opened, adapter: must(opened.adapter, "adapter"), opened: must(opened.opened, "adapter") };
}

/** Trains one group with a trainer of its own. */
export async function trainAlone(setup: TrainerSetup, jobs: readonly TrainJob[]): Promise<readonly TrainResult[]> {
  await using trainer: Trainer = await createLocalTrainer(setup, () => false);
  return await trainer.train(jobs, {});
}

/** The result of a client that did not fail. */
export function succeeded(result: TrainResult | undefined): TrainSuccess {
  if (result?.ok === true) return result;
  throw new Error(`expected a trained client, got ${result?.reason ?? "no result"}`);
}

/** The reply of a client that failed. */
export function failed(result: TrainResult | undefined): TrainFailure {
  if (result?.ok === false) return result;
  throw new Error("expected a failed client, got a trained one");
}

/** All values of named tensors, end to end, in the order of their names. */
export function valuesOf(tensors: NamedTensors<"float32">): Float32Array {
  return Float32Array.from([...tensors].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, t]) => [...t.data]));
}
