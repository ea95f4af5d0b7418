import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { TINY_CONFIG, writeTinyLlama, type TinyLlamaOptions } from "../../../test/support/tiny-llama.ts";
import { mergeRuleOf, randomAdapter, randomDataset, temporaryFolder, tinySetup } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import { openCheckpoint } from "../../core/formats/checkpoint.ts";
import { readSafetensors } from "../../core/formats/safetensors.ts";
import { writeSafetensors } from "../../core/formats/safetensors-writer.ts";
import { createLocalTrainer } from "../training/local-trainer.ts";
import type { EvaluateJob } from "../training/types.ts";
import { openArchitecture } from "../architectures/all.ts";
import { bindAdapter } from "./all.ts";
import { exportMerged } from "./merge.ts";
import { adapterSchema } from "./settings.ts";

const root = temporaryFolder();
const data = randomDataset([9, 14, 5], TINY_CONFIG.vocab_size);
const examples = Int32Array.of(0, 1, 2);

/** A model folder under a LoRA, the mean loss with and without the adapter, and what merging gives. */
async function merge(name: string, options: TinyLlamaOptions & { readonly target_modules?: readonly string[] } = {}) {
  const folder = join(root, name);
  if (!existsSync(folder)) writeTinyLlama(folder, options);
  const setup = tinySetup(folder, data, { adapter: { use_rslora: true, target_modules: options.target_modules ?? "all-linear" } });
  const model = await openArchitecture(folder);
  const adapter = bindAdapter(setup.adapter, model);
  const tensors = randomAdapter(adapter.parameters);
  const out = join(root, `${name}-merged`);
  const lossOf = async (modelFolder: string, job: Omit<EvaluateJob, "examples">): Promise<number> => {
    await using trainer = await createLocalTrainer({ ...setup, modelFolder }, () => false);
    const [result] = await trainer.evaluate([{ ...job, examples }], {});
    const { nll, labelledTokens } = must(result, "result");
    return nll / labelledTokens;
  };
  return { folder, out, run: () => exportMerged({ modelFolder: folder, out }, model, adapter, tensors), lossOf, tensors, adapter };
}

describe("a merged model", () => {
  test.each([
    ["float32", {}, 1e-5],
    ["float16", { dtype: "float16" }, 3e-3],
    ["untied-head", { config: { tie_word_embeddings: false }, target_modules: ["lm_head", "v_proj"] }, 1e-5],
  ] satisfies readonly (readonly [string, Parameters<typeof merge>[1], number])[])("gives the loss of base and adapter: %s", async (name, options, tolerance) => {
    const { folder, out, run, lossOf, tensors } = await merge(name, options);
    run();
    const [base, adapted, merged] = [await lossOf(folder, {}), await lossOf(folder, { adapter: tensors }), await lossOf(out, {})];
    expect(Math.abs(merged - adapted)).toBeLessThan(tolerance);
    // The adapter moves the loss by far more than the tolerance.
    expect(Math.abs(adapted - base)).toBeGreaterThan(30 * tolerance);
  });

  test("keeps the checkpoint's dtypes, the untouched tensors' bits and the metadata", async () => {
    const { folder, out, run } = await merge("partly", { dtype: "float16", target_modules: ["q_proj"] });
    run();
    const [before, after] = [readSafetensors(join(folder, "model.safetensors")), readSafetensors(join(out, "model.safetensors"))];
    expect([...after.tensors.keys()].sort()).toEqual([...before.tensors.keys()].sort());
    for (const [name, t] of before.tensors) {
      const merged = must(after.tensors.get(name), name);
      expect([merged.dtype, merged.shape]).toEqual([t.dtype, t.shape]);
      expect([name, Buffer.from(merged.data.buffer, merged.data.byteOffset, merged.data.byteLength).equals(Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength))]).toEqual([name, !name.includes("q_proj")]);
    }
    expect(after.metadata).toEqual({ format: "pt" });
  });

  test("rounds half precision once: to the nearest of exact sums", async () => {
    const { folder, out, run, tensors, adapter } = await merge("rounded", { dtype: "float16", target_modules: ["k_proj"] });
    run();
    const path = "model.layers.1.self_attn.k_proj";
    const [base, merged] = [folder, out].map((where) => openCheckpoint(where).readFloat32(`${path}.weight`).data);
    const exact = must(mergeRuleOf(adapter)({ name: `${path}.weight`, shape: [8, 24], base: must(base, "base"), values: (name) => must(tensors.get(name), name).data }), "exact sums");
    must(merged, "merged").forEach((x, i) => {
      // Half a unit in the last of float16's 11 bits, and a grain for the sum in float32.
      expect(Math.abs(x - (exact[i] ?? 0))).toBeLessThanOrEqual(Math.abs(x) / 2047 + 1e-7);
    });
  });

  test("of several files is several files with their index", async () => {
    const folder = join(root, "sharded");
    const all = [...writeTinyLlama(folder)];
    const halves = { "model-00001-of-00002.safetensors": all.slice(0, 7), "model-00002-of-00002.safetensors": all.slice(7) };
    rmSync(join(folder, "model.safetensors"));
    for (const [file, part] of Object.entries(halves)) writeSafetensors(join(folder, file), new Map(part));
    const weight_map = Object.fromEntries(Object.entries(halves).flatMap(([file, part]) => part.map(([name]) => [name, file])));
    writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map }));
    const { out, run, lossOf, tensors } = await merge("sharded");
    run();
    expect(existsSync(join(out, "model.safetensors"))).toBe(false);
    expect(openCheckpoint(out).files).toHaveLength(2);
    expect(relativeError([await lossOf(out, {})], [await lossOf(folder, { adapter: tensors })])).toBeLessThan(1e-5);
  });

  test("carries the tokenizer and the settings of its base along", async () => {
    const { folder, out, run } = await merge("with-tokenizer");
    writeFileSync(join(folder, "tokenizer.json"), "{}");
    writeFileSync(join(folder, "notes.txt"), "not part of a model");
    run();
    expect(readFileSync(join(out, "config.json"))).toEqual(readFileSync(join(folder, "config.json")));
    expect([existsSync(join(out, "tokenizer.json")), existsSync(join(out, "notes.txt"))]).toEqual([true, false]);
  });
});

describe("merging is refused", () => {
  test("into the model's own folder, which stays as it was", async () => {
    const { folder } = await merge("own");
    const before = readFileSync(join(folder, "model.safetensors"));
    const model = await openArchitecture(folder);
    const adapter = bindAdapter(adapterSchema.parse({}), model);
    expect(() => exportMerged({ modelFolder: folder, out: `${folder}/.` }, model, adapter, randomAdapter(adapter.parameters))).toThrow(/^export: expected a folder other than the model's own/);
    expect(readFileSync(join(folder, "model.safetensors")).equals(before)).toBe(true);
  });
});

test("an adapter with B = 0 is the base, bit for bit in the loss", async () => {
  const { folder, lossOf, tensors } = await merge("zero");
  const silent = new Map([...tensors].map(([name, t]) => [name, name.includes("lora_B") ? tensor("float32", t.shape, new Float32Array(t.data.length)) : t]));
  expect(await lossOf(folder, { adapter: silent })).toBe(await lossOf(folder, {}));
});
