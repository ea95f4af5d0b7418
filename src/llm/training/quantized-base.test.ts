import { cpSync, statSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { writeTinyLlama } from "../../../test/support/tiny-llama.ts";
import { TINY_CONFIGS, writeTinyModel } from "../../../test/support/tiny-models.ts";
import { randomAdapter, randomDataset, succeeded, temporaryFolder, tinySetup, trainAlone, valuesOf } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import { bindAdapter } from "../adapters/all.ts";
import { adapterSchema } from "../adapters/settings.ts";
import { prepareBase } from "../architectures/prepared-base.ts";
import { openArchitecture } from "../architectures/all.ts";
import { createLocalTrainer } from "./local-trainer.ts";
import { holdPrecision } from "./resolve-runtime.ts";
import type { TrainerSetup } from "./setup.ts";

const root = temporaryFolder();
/** 8 bits as this machine multiplies them. */
const eightBits = await holdPrecision("int8");
const LENGTHS = [9, 17, 12, 7, 14, 20];
const names = ["llama", "gpt2", "gemma2", "bloom"] as const;
for (const name of names) writeTinyModel(join(root, name), TINY_CONFIGS[name]);

/** A model of `names`, or another folder that has llama's config. */
function setupOf(name: string, basePrecision: TrainerSetup["runtime"]["basePrecision"], adapter: Readonly<Record<string, unknown>> = {}) {
  const setup = tinySetup(join(root, name), randomDataset(LENGTHS, TINY_CONFIGS[names.find((own) => own === name) ?? "llama"].vocab_size), { training: { optimizer: { name: "sgd" }, learning_rate: 1, max_grad_norm: 0, batch_size: 6 } });
  return { ...setup, adapter: adapterSchema.parse({ method: "lora", r: 3, target_modules: "all-linear", ...adapter }), runtime: { ...setup.runtime, basePrecision } };
}

/** Loss and gradient of the first step (what plain SGD at rate 1 subtracts). */
async function firstStep(name: string, basePrecision: TrainerSetup["runtime"]["basePrecision"], adapter: Readonly<Record<string, unknown>> = {}) {
  const setup = setupOf(name, basePrecision, adapter);
  const start = randomAdapter(bindAdapter(must(setup.adapter, "adapter"), await openArchitecture(setup.modelFolder)).parameters);
  const job = { client: 0, round: 1, steps: 1, stepsDone: 0, totalSteps: 1, adapter: start, examples: Int32Array.from(LENGTHS.keys()) };
  const result = succeeded((await trainAlone(setup, [job]))[0]);
  const [before, after] = [valuesOf(start), valuesOf(result.adapter)];
  return { loss: result.loss, gradient: before.map((x, i) => x - (after[i] ?? 0)) };
}

function cosine(a: Float32Array | readonly number[], b: Float32Array | readonly number[]): number {
  const dot = [...a].reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0);
  return dot / (Math.hypot(...a) * Math.hypot(...b));
}

describe.each(names)("a rounded base of %s", (name) => {
  test("gives the float32 base's loss within 2 % and its gradient's direction within 20 degrees (its rows have 16 to 35 elements); not the same bits", async () => {
    const [exact, rounded] = [await firstStep(name, "float32"), await firstStep(name, eightBits)];
    expect(Math.abs(rounded.loss / exact.loss - 1)).toBeLessThan(0.02);
    expect(rounded.loss).not.toBe(exact.loss);
    expect(cosine(exact.gradient, rounded.gradient)).toBeGreaterThan(Math.cos((20 * Math.PI) / 180));
  });
});

test.each([["whose last block of tokens is filled up", 1, false], ["with one token far larger than the others, then in float32,", 40, true]])("the loss of a vocabulary %s goes back as in float32", async (what, factor, coarse) => {
  const folder = join(root, what);
  writeTinyLlama(folder, { config: { vocab_size: 1103, tie_word_embeddings: false }, edit: (tensors) => {
    const head = must(tensors.get("lm_head.weight"), "head");
    tensors.set("lm_head.weight", tensor(head.dtype, head.shape, Float32Array.from(Array.from(head.data, Number), (x, i) => (i < (head.shape[1] ?? 0) ? factor * x : x))));
  } });
  const [exact, rounded] = [await firstStep(what, "float32"), await firstStep(what, eightBits)];
  expect(Math.abs(rounded.loss / exact.loss - 1)).toBeLessThan(0.02);
  expect(cosine(exact.gradient, rounded.gradient)).toBeGreaterThan(Math.cos((20 * Math.PI) / 180));
  expect((await prepareBase(folder, await openArchitecture(folder), { precision: eightBits })).rounded?.head?.coarse).toBe(coarse);
});

test("weights whose bytes are all the largest are multiplied exactly: the rows' rounding is all that is left", async () => {
  // Magnitudes alike: 8 bits hold them as they are, and pairs of products fill more than 16 bits where a kernel adds in those.
  const folder = join(root, "largest");
  writeTinyLlama(folder, { edit: (tensors) => {
    for (const [name, { dtype, shape, data }] of tensors) {
      if (shape.length === 2 && !name.includes("embed")) tensors.set(name, tensor(dtype, shape, Float32Array.from(Array.from(data, Number), (x) => (x < 0 ? -0.2 : 0.2))));
    }
  } });
  const [exact, rounded] = [await firstStep("largest", "float32"), await firstStep("largest", eightBits)];
  expect(Math.abs(rounded.loss / exact.loss - 1)).toBeLessThan(0.004);
  expect(cosine(exact.gradient, rounded.gradient)).toBeGreaterThan(0.99);
});

test.each([["dora", {}], ["ia3", { r: undefined, target_modules: undefined }], ["full", { r: undefined, target_modules: undefined }]])("%s trains on an 8-bit base", async (method, settings) => {
  const given = Object.fromEntries(Object.entries({ method, ...settings }).filter(([, value]) => value !== undefined));
  const base = setupOf("llama", eightBits);
  const setup: TrainerSetup = { ...base, adapter: adapterSchema.parse(method === "dora" ? { ...given, r: 3, target_modules: ["k_proj", "down_proj"] } : given), training: { ...base.training, learning_rate: 0.05 } };
  await using trainer = await createLocalTrainer(setup, () => false);
  const adapter = await trainer.initialAdapter();
  const examples = Int32Array.from(LENGTHS.keys());
  const result = succeeded((await trainer.train([{ client: 0, round: 1, steps: 5, stepsDone: 0, totalSteps: 5, adapter, examples }], {}))[0]);
  const [before, after] = await trainer.evaluate([{ adapter, examples }, { adapter: result.adapter, examples }], {});
  expect(must(after, "after").nll).toBeLessThan(must(before, "before").nll);
});

test("the 8-bit base is made once, and takes less of the disk", async () => {
  const cache = must(process.env["FEDTUNE_CACHE"], "cache");
  const files = (): string[] => readdirSync(cache).filter((file) => !file.endsWith(".lock"));
  const known = new Set(files());
  cpSync(join(root, "llama"), join(root, "copy"), { recursive: true });
  for (const round of [1, 2]) {
    await using _trainer = await createLocalTrainer({ ...setupOf("llama", eightBits), modelFolder: join(root, "copy") }, () => false);
    expect([round, files().filter((file) => !known.has(file)).length]).toEqual([round, 0]);
  }
  const sizes = files().map((file) => statSync(join(cache, file)).size);
  expect(Math.min(...sizes)).toBeLessThan(Math.max(...sizes));
});
