import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { TINY_CONFIGS, writeTinyModel, type ModelConfig } from "../../../test/support/tiny-models.ts";
import { lossesOfMerged } from "../../../test/support/tiny-passes.ts";
import { NO_SOURCES, temporaryFolder } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import { openCheckpoint } from "../../core/formats/checkpoint.ts";
import { writeSafetensors } from "../../core/formats/safetensors-writer.ts";
import { openArchitecture } from "../architectures/all.ts";
import { bindAdapter, initialTensors } from "./all.ts";
import { exportMerged } from "./merge.ts";
import { adapterSchema } from "./settings.ts";

const root = temporaryFolder();
const LENGTHS = [9, 14, 5];
const configOf = (folder: string): ModelConfig => JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as ModelConfig;
const LORA = { r: 3, lora_alpha: 5, target_modules: ["q_proj"] };

/** Merges an adapter of a model with tied embeddings; the folders and how far the losses are apart. */
async function merge(name: string, settings: Readonly<Record<string, unknown>>, options: Parameters<typeof writeTinyModel>[2] & { readonly prepare?: (folder: string) => void } = {}) {
  const [folder, out] = [join(root, name), join(root, `${name}-merged`)];
  writeTinyModel(folder, TINY_CONFIGS.llama, options);
  options.prepare?.(folder);
  const { adapted, base, merged } = await lossesOfMerged(folder, settings, { out, lengths: LENGTHS });
  return { folder, out, error: relativeError(merged, adapted), moved: relativeError(base, adapted) };
}

/** Checkpoint tensors by whether they are other bits than before. */
function changed(folder: string, out: string): string[] {
  const [before, after] = [openCheckpoint(folder), openCheckpoint(out)];
  return after.names.filter((name) => !before.has(name) || before.readFloat32(name).data.some((x, i) => x !== after.readFloat32(name).data[i]));
}

describe("an output embedding that was tied", () => {
  test.each([
    ["lora", { ...LORA, target_modules: ["lm_head"] }, ["lm_head.weight"]],
    ["dora", { ...LORA, method: "dora", target_modules: ["lm_head"] }, ["lm_head.weight"]],
    ["saved-head", { ...LORA, target_modules: ["1.mlp.up_proj"], modules_to_save: ["lm_head"] }, ["lm_head.weight", "model.layers.1.mlp.up_proj.weight"]],
    ["saved-both", { ...LORA, target_modules: ["1.mlp.up_proj"], modules_to_save: ["lm_head", "embed_tokens"] }, ["lm_head.weight", "model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight"]],
  ])("and changes by itself becomes a weight of its own: %s", async (name, settings, expected) => {
    const { folder, out, error, moved } = await merge(name, settings);
    expect(error).toBeLessThan(2e-6);
    expect(moved).toBeGreaterThan(1e-2);
    expect(changed(folder, out).sort()).toEqual(expected);
    expect(configOf(out)).toEqual({ ...configOf(folder), tie_word_embeddings: false });
  });

  test("stays as it was where the input embedding alone changes", async () => {
    const { folder, out, error } = await merge("saved-input", { ...LORA, modules_to_save: ["embed_tokens"] });
    expect(error).toBeLessThan(2e-6);
    expect(openCheckpoint(out).readFloat32("lm_head.weight").data).toEqual(openCheckpoint(folder).readFloat32("model.embed_tokens.weight").data);
  });

  test("stays tied where nothing changes it, or where both change as one", async () => {
    for (const [name, settings] of [["apart", LORA], ["full", { method: "full" }]] as const) {
      const { folder, out, error } = await merge(name, settings);
      expect(error, name).toBeLessThan(2e-6);
      expect([openCheckpoint(out).has("lm_head.weight"), configOf(out)]).toEqual([false, configOf(folder)]);
    }
  });

  test("stays tied under an adapter that has learned nothing", async () => {
    const [folder, out] = [join(root, "silent"), join(root, "silent-merged")];
    writeTinyModel(folder, TINY_CONFIGS.llama);
    const model = await openArchitecture(folder);
    const adapter = bindAdapter(adapterSchema.parse({ ...LORA, target_modules: ["lm_head"] }), model);
    exportMerged({ modelFolder: folder, out }, model, adapter, initialTensors(adapter.parameters, 3, NO_SOURCES));
    expect([openCheckpoint(out).names, configOf(out)]).toEqual([openCheckpoint(folder).names, configOf(folder)]);
  });

  test("that the file repeats is written in its place, in half precision too", async () => {
    const repeat = (tensors: Map<string, Tensor>): void => { tensors.set("lm_head.weight", must(tensors.get("model.embed_tokens.weight"), "embedding")); };
    const { out, error, folder } = await merge("repeated", { ...LORA, target_modules: ["lm_head"] }, { dtype: "float16", edit: repeat });
    expect(error).toBeLessThan(3e-3);
    expect([...openCheckpoint(out).names].sort()).toEqual([...openCheckpoint(folder).names].sort());
    expect(openCheckpoint(out).entry("lm_head.weight").dtype).toBe("float16");
    expect(changed(folder, out)).toEqual(["lm_head.weight"]);
  });

  test("lies beside the input embedding where there are several files, and in their index", async () => {
    const files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] as const;
    const shard = (folder: string): void => {
      const checkpoint = openCheckpoint(folder);
      const names = [...checkpoint.names.filter((name) => name !== "model.embed_tokens.weight"), "model.embed_tokens.weight"];
      const parts = [names.slice(0, 4), names.slice(4)];
      const weights = new Map(names.map((name) => [name, checkpoint.read(name)]));
      rmSync(join(folder, "model.safetensors"));
      parts.forEach((part, i) => writeSafetensors(join(folder, must(files[i], "file")), new Map(part.map((name) => [name, must(weights.get(name), name)]))));
      const weight_map = Object.fromEntries(parts.flatMap((part, i) => part.map((name) => [name, files[i]])));
      writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ metadata: { total_size: 1000 }, weight_map }));
    };
    const { out, error } = await merge("sharded", { ...LORA, target_modules: ["lm_head"] }, { prepare: shard });
    expect(error).toBeLessThan(2e-6);
    const index: unknown = JSON.parse(readFileSync(join(out, "model.safetensors.index.json"), "utf8"));
    expect(index).toMatchObject({ metadata: { total_size: 1000 + 4 * 61 * 24 }, weight_map: { "lm_head.weight": files[1], "model.embed_tokens.weight": files[1] } });
    expect(existsSync(join(out, "model.safetensors"))).toBe(false);
  });
});
