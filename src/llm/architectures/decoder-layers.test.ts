import { describe, expect, test } from "vitest";
import { ARCHITECTURES } from "./all.ts";
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { pickArchitecture } from "./config.ts";
import { layerWindows } from "./decoder-layers.ts";

const SIZES = { vocab_size: 61, hidden_size: 24, intermediate_size: 35, num_hidden_layers: 3, num_attention_heads: 6, num_key_value_heads: 2 };
type Fields = Readonly<Record<string, unknown>>;
const open = (model_type: string, changes: Fields = {}): ArchitectureModel => {
  const config = { model_type, ...SIZES, ...changes };
  return pickArchitecture<Architecture>(ARCHITECTURES, config, "config.json").open(config, "config.json");
};
const FAMILY = ["llama", "mistral", "phi3", "qwen2", "qwen3", "smollm3"];
const rowsOf = (model: ArchitectureModel, path: string): number | undefined => model.linears.find((l) => l.path === path)?.outFeatures;

describe("a config that asks for what an architecture does not do is refused by the name of the field", () => {
  test.each(FAMILY)("in every architecture of the family: %s", (type) => {
    expect(() => open(type, { hidden_act: "gelu" })).toThrow('config.json: hidden_act: expected "silu", got "gelu"');
    expect(() => open(type, { rope_scaling: { type: "dynamic", factor: 4 } })).toThrow("config.json: rope_scaling: expected a rotary scaling that is supported (default, ");
    expect(() => open(type, { rope_parameters: { rope_type: "proportional", rope_theta: 500 } })).toThrow("config.json: rope_parameters: expected a rotary scaling");
    expect(() => open(type, { rope_parameters: { full_attention: { rope_type: "default", rope_theta: 500 } } })).toThrow("config.json: rope_parameters.full_attention: expected a number or a word");
    expect(() => open(type, { rms_norm_eps: 0 })).toThrow("config.json: rms_norm_eps: ");
    expect(() => open(type, { intermediate_size: undefined })).toThrow("config.json: intermediate_size: expected number, got nothing");
    expect(() => open(type, { tie_word_embeddings: "yes" })).toThrow("config.json: tie_word_embeddings: ");
    expect(() => open(type, { num_attention_heads: 5, head_dim: 8 })).toThrow("config.json: num_attention_heads: ");
  });

  test.each(FAMILY.filter((type) => type !== "phi3"))("heads that rotate in part, longrope: %s", (type) => {
    expect(() => open(type, { head_dim: 8, partial_rotary_factor: 0.5 })).toThrow("config.json: partial_rotary_factor: expected 1, since heads of this architecture rotate whole, got 0.5");
    expect(() => open(type, { head_dim: 8, rope_parameters: { rope_theta: 9, partial_rotary_factor: 0.5 } })).toThrow("partial_rotary_factor: expected 1");
    expect(() => open(type, { rope_scaling: { type: "longrope", short_factor: [1, 1], long_factor: [1, 1] } })).toThrow("config.json: rope_scaling: expected a rotary scaling that is supported (default, linear, llama3, yarn), got `longrope`");
  });

  test.each<[string, Fields, string]>([
    ["mistral", { sliding_window: 0 }, "sliding_window: expected number to be >0, got 0"],
    ["mistral", { sliding_window: null, layer_types: ["sliding_attention", "full_attention", "full_attention"] }, "sliding_window: expected a number of tokens that is in use, since layer_types names sliding_attention, got none"],
    ["phi3", { sliding_window: -1 }, "sliding_window: "],
    ["phi3", { rope_scaling: { type: "linear", factor: 2 } }, "rope_scaling: expected a rotary scaling that is supported (default, longrope, su, yarn), got `linear`"],
    ["phi3", { rope_scaling: { type: "yarn", factor: 2 } }, "rope_scaling: expected the numbers that yarn scaling needs"],
    ["phi3", { partial_rotary_factor: 0.3 }, "partial_rotary_factor: "],
    ["qwen2", { layer_types: ["full_attention", "sliding_attention", "full_attention"] }, "sliding_window: expected a number of tokens that is in use"],
    ["qwen2", { layer_types: ["full_attention", "full_attention"] }, "layer_types: expected one entry for each of 3 layers, got 2 entries"],
    ["qwen2", { layer_types: ["full_attention", "chunked_attention", "full_attention"] }, "layer_types.1: "],
    ["qwen2", { use_sliding_window: "yes" }, "use_sliding_window: "],
    ["qwen2", { use_sliding_window: true, max_window_layers: 1.5 }, "max_window_layers: "],
    ["qwen3", { layer_types: ["linear_attention", "full_attention", "full_attention"], head_dim: 4 }, "layer_types.0: "],
    ["qwen3", { attention_bias: 1 }, "attention_bias: expected boolean, got 1"],
    ["smollm3", { no_rope_layers: [1, 0] }, "no_rope_layers: expected an entry for each of 3 layers, got 2 entries"],
    ["smollm3", { no_rope_layers: [1, 2, 1] }, "no_rope_layers.1: "],
    ["smollm3", { no_rope_layer_interval: 0 }, "no_rope_layer_interval: "],
    ["smollm3", { sliding_window: 5, layer_types: ["full_attention", "full_attention", "sliding_attention"] }, "sliding_window: expected a number of tokens that is in use"],
    ["smollm3", { mlp_bias: "no" }, "mlp_bias: "],
  ])("%s %j", (type, changes, message) => {
    expect(() => open(type, changes)).toThrow(`config.json: ${message}`);
  });
});

describe("what a config leaves out is as transformers has it", () => {
  test.each<[string, number, number, boolean]>([
    ["llama", 6, 2048, false],
    ["mistral", 8, 131_072, false],
    ["phi3", 6, 4096, false],
    ["qwen2", 32, 32_768, false],
    ["qwen3", 32, 32_768, false],
    ["smollm3", 4, 32_768, true],
  ])("%s", (type, keyValueHeads, maxPositions, tied) => {
    const given = { num_attention_heads: keyValueHeads, head_dim: 4 };
    const model = open(type, { ...given, num_key_value_heads: undefined });
    expect([model.keyValueHeads, model.maxPositions, model.tied.has("lm_head.weight")]).toEqual([keyValueHeads, maxPositions, tied]);
    expect(open(type, { ...given, num_key_value_heads: null }).keyValueHeads).toBe(keyValueHeads);
    expect(open(type, { tie_word_embeddings: !tied }).tied.has("lm_head.weight")).toBe(!tied);
  });

  test("heads are as wide as hidden_size allows, but Qwen3's 128", () => {
    expect(FAMILY.map((type) => open(type).headWidth)).toEqual([4, 4, 4, 4, 128, 4]);
    expect(open("mistral", { head_dim: null, num_attention_heads: 4 }).headWidth).toBe(6);
  });
});

describe("modules are those of the checkpoint", () => {
  test("biases stand where the architecture or its config puts them", () => {
    const biased = (type: string, changes: Fields = {}): string[] => open(type, { num_hidden_layers: 1, ...changes }).linears.filter((l) => l.bias !== undefined).map((l) => l.path.split(".").at(-1) ?? "");
    const [attention, mlp] = [["q_proj", "k_proj", "v_proj", "o_proj"], ["gate_proj", "up_proj", "down_proj"]];
    const both = { attention_bias: true, mlp_bias: true };
    expect(FAMILY.map((type) => biased(type))).toEqual([[], [], [], ["q_proj", "k_proj", "v_proj"], [], []]);
    expect(FAMILY.map((type) => biased(type, both))).toEqual([[...attention, ...mlp], [], [], ["q_proj", "k_proj", "v_proj"], attention, [...attention, ...mlp]]);
  });

  test("Phi-3's queries, keys and values are one module, and so are gate and up", () => {
    const model = open("phi3", { head_dim: 8 });
    expect([rowsOf(model, "model.layers.2.self_attn.qkv_proj"), rowsOf(model, "model.layers.2.mlp.gate_up_proj")]).toEqual([(6 + 2 + 2) * 8, 2 * 35]);
    expect(model.linears.some(({ path }) => path.endsWith("q_proj"))).toBe(false);
  });
});

describe("the window of each layer", () => {
  const windows = (config: Fields) => layerWindows({ num_hidden_layers: 3, ...config }, (i) => i > 0, "config.json");

  test("is the same for all layers that have one, and none where the config has none", () => {
    expect(windows({ sliding_window: 5 })).toEqual([undefined, 5, 5]);
    expect(windows({ sliding_window: null })).toEqual([undefined, undefined, undefined]);
    expect(windows({})).toEqual([undefined, undefined, undefined]);
  });

  test("follows layer_types where they are given", () => {
    expect(windows({ sliding_window: 5, layer_types: ["sliding_attention", "full_attention", "sliding_attention"] })).toEqual([5, undefined, 5]);
    expect(windows({ sliding_window: null, layer_types: ["full_attention", "full_attention", "full_attention"] })).toEqual([undefined, undefined, undefined]);
  });
});
