import { describe, expect, test } from "vitest";
import { openTiny, TINY_CONFIGS } from "../../../test/support/tiny-models.ts";
import { selectModules, type ModuleSelection } from "./selected-modules.ts";

const llama = openTiny(TINY_CONFIGS.llama);
const select = (settings: Partial<ModuleSelection>, model = llama): string[] => selectModules({ modules_to_save: [], ...settings }, model, "lowRank").map(({ path }) => path);
const ATTENTION = (layer: number, ...names: string[]): string[] => names.map((name) => `model.layers.${layer}.self_attn.${name}`);

describe("the modules of an adapter", () => {
  test("are in the layers that are named, one or several", () => {
    expect(select({ target_modules: ["q_proj", "o_proj"], layers_to_transform: 1 })).toEqual(ATTENTION(1, "q_proj", "o_proj"));
    expect(select({ target_modules: ["k_proj"], layers_to_transform: [0, 1] })).toEqual([...ATTENTION(0, "k_proj"), ...ATTENTION(1, "k_proj")]);
    expect(select({ target_modules: ["k_proj"], layers_to_transform: [] })).toHaveLength(2);
  });

  test("count layers by the list that a pattern names", () => {
    const gpt2 = openTiny(TINY_CONFIGS.gpt2);
    expect(select({ target_modules: ["c_attn"], layers_to_transform: 1, layers_pattern: "h" }, gpt2)).toEqual(["transformer.h.1.attn.c_attn"]);
    expect(select({ target_modules: ["c_attn"], layers_to_transform: [1], layers_pattern: ["blocks", "h"] }, gpt2)).toEqual(["transformer.h.1.attn.c_attn"]);
    expect(() => select({ target_modules: ["c_attn"], layers_to_transform: 1, layers_pattern: "layers" }, gpt2)).toThrow("adapter.target_modules: expected modules that layers_to_transform");
  });

  test("named by their whole path are taken in whatever layer they are, as PEFT does", () => {
    expect(select({ target_modules: ["v_proj", "model.layers.0.mlp.up_proj", "lm_head"], layers_to_transform: 1 })).toEqual(["model.layers.0.mlp.up_proj", ...ATTENTION(1, "v_proj"), "lm_head"]);
  });

  test("are less those that are excluded by name or by a regular expression", () => {
    const rest = [...ATTENTION(0, "q_proj", "k_proj"), ...ATTENTION(1, "k_proj")];
    expect(select({ target_modules: ["q_proj", "k_proj"], exclude_modules: ["1.self_attn.q_proj"] })).toEqual(rest);
    expect(select({ target_modules: ["q_proj", "k_proj"], exclude_modules: ".*1.*q_.*" })).toEqual(rest);
    expect(select({ target_modules: ["q_proj", "k_proj"], exclude_modules: "q_proj" })).toHaveLength(4);
    expect(select({ target_modules: "all-linear", exclude_modules: ["up_proj", "gate_proj"] })).toHaveLength(10);
  });

  test("are less those inside a module that trains whole", () => {
    expect(select({ target_modules: "all-linear", modules_to_save: ["mlp", "lm_head"] })).toEqual([0, 1].flatMap((i) => ATTENTION(i, "q_proj", "k_proj", "v_proj", "o_proj")));
    expect(select({ target_modules: ["q_proj", "v_proj"], modules_to_save: ["layers.1"] })).toEqual(ATTENTION(0, "q_proj", "v_proj"));
  });
});

describe("a choice is refused by its field", () => {
  test.each<[Partial<ModuleSelection>, string]>([
    [{ target_modules: ["q_proj"], layers_to_transform: [0, 2] }, "adapter.layers_to_transform: expected layers 0 to 1, got 2."],
    [{ target_modules: "all-linear", layers_to_transform: 1 }, "adapter.layers_to_transform: expected target_modules that is a list of names, got `all-linear`."],
    [{ target_modules: ["q_proj"], layers_pattern: "layers" }, "adapter.layers_pattern: expected layers_to_transform beside it, got none."],
    [{ target_modules: ["q_proj"], layers_to_transform: 0, layers_pattern: "(" }, "adapter.layers_pattern: expected a name or a regular expression, got `(`"],
    [{ target_modules: ["q_proj"], exclude_modules: "(" }, "adapter.exclude_modules: expected module names or a regular expression, got `(`"],
    [{ target_modules: ["q_proj"], exclude_modules: ["q_proj"] }, "adapter.target_modules: expected modules that layers_to_transform, layers_pattern, exclude_modules and modules_to_save leave, got none."],
    [{ target_modules: ["q_porj"], layers_to_transform: 0 }, "Did you mean `q_proj`?"],
  ])("%j", (settings, message) => {
    expect(() => select(settings)).toThrow(message);
    expect(() => select(settings)).toThrow(expect.objectContaining({ code: "config" }));
  });
});
