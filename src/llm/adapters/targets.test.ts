import { describe, expect, test } from "vitest";
import { TINY_CONFIG } from "../../../test/support/tiny-llama.ts";
import { openTiny, TINY_CONFIGS } from "../../../test/support/tiny-models.ts";
import { llama } from "../architectures/llama.ts";
import { patternValue, resolveTargets, targetsOr } from "./targets.ts";

const { linears } = llama.open(TINY_CONFIG, "test");
const paths = (target: string | readonly string[]): string[] => resolveTargets(target, linears).map(({ path }) => path);
const EVERY = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"];

describe("target_modules left out", () => {
  // PEFT 0.21: TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING; phi3 and smollm3, which it lacks, like their kin.
  test.each([["gpt2", ["c_attn"]], ["bloom", ["query_key_value"]], ["gpt_neox", ["query_key_value"]], ["phi3", ["qkv_proj"]]] as const)("are the attention's one projection where %s joins it", (name, expected) => {
    expect(targetsOr(undefined, openTiny(TINY_CONFIGS[name]), "lowRank")).toEqual(expected);
  });

  test.each(["gemma", "gemma2", "gemma3_text", "llama", "mistral", "opt", "qwen2", "qwen3", "smollm3"] as const)("are the query and value projections of %s", (name) => {
    expect(targetsOr(undefined, openTiny(TINY_CONFIGS[name]), "lowRank")).toEqual(["q_proj", "v_proj"]);
  });

  test("give way to what is named, and name modules that every architecture has", () => {
    for (const config of Object.values(TINY_CONFIGS)) {
      const model = openTiny(config);
      expect(targetsOr("all-linear", model, "lowRank")).toBe("all-linear");
      for (const kind of ["lowRank", "rescaled", "feedForward"] as const) expect(resolveTargets(targetsOr(undefined, model, kind), model.linears)).toHaveLength(2 * model.defaultTargets[kind].length);
    }
  });
});

describe("target_modules", () => {
  test("names mean every module whose path ends in them, in the model's order", () => {
    expect(paths(["v_proj", "q_proj"])).toEqual(["model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj", "model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj"]);
    expect(paths(["1.mlp.up_proj"])).toEqual(["model.layers.1.mlp.up_proj"]);
    expect(paths(["model.layers.0.self_attn.o_proj", "lm_head"])).toEqual(["model.layers.0.self_attn.o_proj", "lm_head"]);
  });

  test("a name that is only the end of a word does not count", () => {
    expect(() => paths(["proj"])).toThrow("`proj`, which matches none");
  });

  test("all-linear is every linear module but the output embedding", () => {
    expect(paths("all-linear")).toEqual([0, 1].flatMap((i) => EVERY.map((name) => `model.layers.${i}.${name}`)));
  });

  test("a string is a regular expression that must match a whole path", () => {
    expect(paths(".*\\.1\\.self_attn\\.(q|k)_proj")).toEqual(["model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.k_proj"]);
    expect(paths("lm_head|.*0.*o_proj")).toEqual(["model.layers.0.self_attn.o_proj", "lm_head"]);
    expect(() => paths("q_proj")).toThrow("`q_proj`, which matches none");
    expect(() => paths(".*q_pro")).toThrow("`.*q_pro`, which matches none");
  });

  test("a name or pattern that matches nothing is refused with the nearest that would", () => {
    expect(() => paths(["q_proj", "q_porj"])).toThrow("adapter.target_modules: expected modules that the model has (q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, lm_head) or all-linear, got `q_porj`, which matches none. Did you mean `q_proj`?");
    expect(() => paths("all_linear")).toThrow("Did you mean `all-linear`?");
    expect(() => paths(["c_attn"])).toThrow(expect.objectContaining({ code: "config", exitCode: 2 }));
  });

  test("a pattern that is no regular expression is refused", () => {
    expect(() => paths("(q_proj")).toThrow(/^adapter\.target_modules: expected module names or a regular expression, got `\(q_proj` \(.*Unterminated group.*\)/);
  });
});

describe("rank_pattern and alpha_pattern", () => {
  test("give the value of the first pattern that matches a path or its end", () => {
    const patterns = { "layers.1.*q_proj": 7, q_proj: 5, "model.layers.0.mlp.up_proj": 3 };
    const value = (path: string) => patternValue(patterns, path, "rank_pattern");
    expect(value("model.layers.1.self_attn.q_proj")).toBe(7);
    expect(value("model.layers.0.self_attn.q_proj")).toBe(5);
    expect(value("model.layers.0.mlp.up_proj")).toBe(3);
    expect(value("model.layers.0.mlp.down_proj")).toBeUndefined();
    expect(value("model.layers.0.self_attn.my_q_proj")).toBeUndefined();
  });

  test("are refused by name where they are no regular expression", () => {
    expect(() => patternValue({ "*": 3 }, "q_proj", "alpha_pattern")).toThrow(/^adapter\.alpha_pattern: expected module names or a regular expression, got `\*`/);
  });
});
