import { describe, expect, test } from "vitest";
import { openTiny, TINY_CONFIGS } from "../../../test/support/tiny-models.ts";
import { baseWeights } from "./replaced-weights.ts";
import { biasesOf, matchWeights } from "./weight-patterns.ts";

const model = openTiny(TINY_CONFIGS.llama);
const match = (pattern: string | readonly string[]): string[] => [...matchWeights(pattern, baseWeights(model), { model, field: "train" })].sort();

describe("a pattern of weights", () => {
  test("means a tensor by its path or the end of it, and all of a module by the module's", () => {
    expect(match(["model.norm.weight"])).toEqual(["model.norm.weight"]);
    expect(match(["norm"])).toEqual(["model.norm.weight"]);
    expect(match(["1.mlp"])).toEqual(["down", "gate", "up"].map((x) => `model.layers.1.mlp.${x}_proj.weight`));
    expect(match(["layers.0"])).toHaveLength(9);
    expect(match(["q_proj", "1.self_attn.k_proj.weight"])).toEqual(["model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.k_proj.weight", "model.layers.1.self_attn.q_proj.weight"]);
  });

  test("is a regular expression of a whole path where it is no list", () => {
    expect(match(String.raw`model\.layers\.1\.mlp`)).toEqual(match(["1.mlp"]));
    expect(match(String.raw`.*layernorm\.weight`)).toHaveLength(4);
    expect(() => match("q_proj")).toThrow("adapter.train: expected names of modules or tensors (model, embed_tokens, weight, lm_head, layers, self_attn, q_proj,");
  });

  test("finds a tied tensor by either name", () => {
    expect(match(["lm_head"])).toEqual(["model.embed_tokens.weight"]);
    expect(match(["embed_tokens"])).toEqual(["model.embed_tokens.weight"]);
    const untied = openTiny({ ...TINY_CONFIGS.llama, tie_word_embeddings: false });
    expect([...matchWeights(["lm_head"], baseWeights(untied), { model: untied, field: "train" })]).toEqual(["lm_head.weight"]);
  });

  test("that matches nothing is refused with the nearest that would, each name for itself", () => {
    expect(() => match(["q_proj", "dwn_proj"])).toThrow(/^adapter\.train: .* got `dwn_proj`, which matches none\. Did you mean `down_proj`\?/);
    expect(() => match(["proj"])).toThrow("`proj`, which matches none");
    expect(() => match("(")).toThrow(expect.objectContaining({ code: "config", message: expect.stringMatching(/^adapter\.train: expected module names or a regular expression, got `\(`/) }));
  });
});

test("biases are those of linear modules and of norms", () => {
  expect(biasesOf(model)).toEqual([]);
  const names = biasesOf(openTiny(TINY_CONFIGS.gpt2)).map(({ name }) => name.replace("transformer.", ""));
  const ofLayer = ["ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"];
  expect(names.sort()).toEqual([...[0, 1].flatMap((i) => ofLayer.map((x) => `h.${i}.${x}.bias`)), "ln_f.bias"].sort());
});
