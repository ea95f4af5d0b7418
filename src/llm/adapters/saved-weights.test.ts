import { describe, expect, test } from "vitest";
import { openTiny, TINY_CONFIGS } from "../../../test/support/tiny-models.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { savedWeights, type SavedWeightSettings } from "./saved-weights.ts";
import { selectModules } from "./selected-modules.ts";

const [llama, qwen2, opt] = [openTiny(TINY_CONFIGS.llama), openTiny(TINY_CONFIGS.qwen2), openTiny(TINY_CONFIGS.opt)];

function saved(model: ArchitectureModel, settings: Partial<SavedWeightSettings>, target_modules: readonly string[] = ["q_proj"]) {
  const all: SavedWeightSettings = { bias: "none", modules_to_save: [], ...settings };
  return savedWeights(model, all, selectModules({ ...all, target_modules: [...target_modules] }, model, "lowRank"));
}
const namesOf = (...given: Parameters<typeof saved>): string[] => saved(...given).parameters.map(({ name }) => name.replace("base_model.model.model.", ""));

describe("biases that train", () => {
  test("lora_only: those of the targets that have one, by the name of PEFT's base layer", () => {
    expect(namesOf(qwen2, { bias: "lora_only" }, ["q_proj", "o_proj"])).toEqual(["layers.0.self_attn.q_proj.base_layer.bias", "layers.1.self_attn.q_proj.base_layer.bias"]);
  });

  test("all: every bias of the model, those of norms included", () => {
    const names = namesOf(opt, { bias: "all" });
    expect(names).toContain("decoder.layers.1.self_attn.q_proj.base_layer.bias");
    expect(names).toContain("decoder.layers.1.self_attn.k_proj.bias");
    expect(names).toContain("decoder.layers.0.fc2.bias");
    expect(names).toContain("decoder.layers.0.final_layer_norm.bias");
    expect(names.every((name) => name.endsWith(".bias"))).toBe(true);
  });

  test("none, and a model without any: none", () => {
    expect(namesOf(qwen2, {})).toEqual([]);
    expect(namesOf(llama, { bias: "all" })).toEqual([]);
  });
});

describe("modules that train whole", () => {
  test("are named by the end of their paths, the whole of a block too", () => {
    expect(namesOf(llama, { modules_to_save: ["1.mlp"] })).toEqual(["gate_proj", "up_proj", "down_proj"].map((name) => `layers.1.mlp.${name}.weight`));
    expect(namesOf(llama, { modules_to_save: ["norm"] })).toEqual(["layers.0.input_layernorm.weight", "layers.0.post_attention_layernorm.weight", "layers.1.input_layernorm.weight", "layers.1.post_attention_layernorm.weight", "norm.weight"]);
  });

  test("of two embeddings that are tied only the named one changes", () => {
    const [head, table, both] = [saved(llama, { modules_to_save: ["lm_head"] }), saved(llama, { modules_to_save: ["embed_tokens"] }), saved(llama, { modules_to_save: ["embed_tokens", "lm_head"] })];
    expect(head.parameters.map(({ name, shape }) => [name, shape])).toEqual([["base_model.model.lm_head.weight", [61, 24]]]);
    expect(table.parameters.map(({ name }) => name)).toEqual(["base_model.model.model.embed_tokens.weight"]);
    expect(both.parameters).toHaveLength(2);
    expect([head.changesHead, table.changesHead, both.changesHead]).toEqual([true, false, true]);
    const values = (name: string): Float32Array => Float32Array.of(name.includes("lm_head") ? 3 : 5);
    const merged = (of: typeof head): unknown[] => ["lm_head.weight", "model.embed_tokens.weight"].map((name) => of.merge({ name, shape: [1], base: Float32Array.of(2), values })?.[0]);
    expect([merged(head), merged(table), merged(both)]).toEqual([[3, undefined], [undefined, 5], [3, 5]]);
  });

  test("take their biases along, once; what PEFT repeats of them is known and not read", () => {
    const { parameters, baseCopies } = saved(opt, { bias: "all", modules_to_save: ["fc1"] });
    const names = parameters.map(({ name }) => name);
    expect(names.filter((name) => name.includes("0.fc1"))).toEqual(["base_model.model.model.decoder.layers.0.fc1.weight", "base_model.model.model.decoder.layers.0.fc1.bias"]);
    expect(baseCopies.filter(({ name }) => name.includes(".0."))).toEqual(["original_module", "modules_to_save"].map((copy) => ({ name: `base_model.model.model.decoder.layers.0.fc1.${copy}.bias`, shape: [21] })));
    expect(saved(opt, { modules_to_save: ["fc1"] }).baseCopies).toEqual([]);
  });

  test("are refused where the model has none of that name, or where they are targets as well", () => {
    expect(() => saved(llama, { modules_to_save: ["lm_head", "score"] })).toThrow(/^adapter\.modules_to_save: expected modules that the model has \(.*lm_head\), got `score`, which matches none\./);
    expect(() => saved(llama, { modules_to_save: ["emb_tokens"] })).toThrow("Did you mean `embed_tokens`?");
    expect(() => saved(llama, { modules_to_save: ["attn"] })).toThrow("adapter.modules_to_save: expected modules other than the targets, got model.layers.0.self_attn.q_proj, which is both.");
  });
});
