import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { TINY_CONFIG } from "../../../test/support/tiny-llama.ts";
import { temporaryFolder } from "../../../test/support/tiny-training.ts";
import { ARCHITECTURES, openArchitecture } from "./all.ts";

const root = temporaryFolder();
const KNOWN = Object.keys(ARCHITECTURES).join(", ");
let count = 0;

/** A folder whose config.json is this text. */
function folderWith(text: string): string {
  const folder = join(root, `config-${count++}`);
  mkdirSync(folder);
  writeFileSync(join(folder, "config.json"), text);
  return folder;
}

const open = (changes: Readonly<Record<string, unknown>>) => openArchitecture(folderWith(JSON.stringify({ ...TINY_CONFIG, ...changes })));

describe("a config.json that cannot be honoured is refused by file and field", () => {
  test.each([
    [{ model_type: "gpt_bigcode" }, `model_type: expected an architecture that fedtune has (${KNOWN}), got \`gpt_bigcode\`.`],
    [{ model_type: "lama" }, "got `lama`. Did you mean `llama`?"],
    [{ model_type: "constructor" }, `model_type: expected an architecture that fedtune has (${KNOWN}), got \`constructor\`.`],
    [{ model_type: undefined }, `model_type: expected an architecture that fedtune has (${KNOWN}), got no model_type.`],
    [{ hidden_act: "gelu" }, 'hidden_act: expected "silu", got "gelu". This model cannot be run as its config says.'],
    [{ attention_bias: "yes" }, 'attention_bias: expected boolean, got "yes".'],
    [{ hidden_size: 0 }, "hidden_size: expected number to be >0, got 0."],
    [{ num_hidden_layers: 2.5 }, "num_hidden_layers: expected int, got 2.5."],
    [{ vocab_size: undefined }, "vocab_size: expected number, got nothing."],
    [{ num_attention_heads: 5 }, "num_attention_heads: expected heads that divide hidden_size into even widths and are a multiple of num_key_value_heads, got 5 heads, 2 key-value heads, hidden_size 24."],
    [{ num_attention_heads: 8 }, "got 8 heads, 2 key-value heads, hidden_size 24"],
    [{ num_key_value_heads: 4 }, "got 6 heads, 4 key-value heads, hidden_size 24"],
    [{ head_dim: 7 }, "num_attention_heads: "],
    [{ rope_scaling: { rope_type: "longrope", factor: 4 } }, "rope_scaling: expected a rotary scaling that is supported (default, linear, llama3, yarn), got `longrope`."],
    [{ rope_scaling: { type: "dynamic", factor: 4 } }, "got `dynamic`."],
    [{ rope_scaling: { rope_type: ["yarn"] } }, 'got `["yarn"]`.'],
    [{ rope_parameters: { rope_type: "longrope", rope_theta: 500 } }, "rope_parameters: expected a rotary scaling that is supported"],
    [{ rope_scaling: { rope_type: "llama3", factor: 8 } }, 'rope_scaling: expected the numbers that llama3 scaling needs, got {"rope_type":"llama3","factor":8}.'],
    [{ rope_scaling: { type: "yarn", beta_fast: 32 } }, 'rope_scaling: expected the numbers that yarn scaling needs, got {"type":"yarn","beta_fast":32}.'],
    [{ partial_rotary_factor: 0.3 }, "partial_rotary_factor: expected a share of the head's width 4 that is an even number of elements, got 0.3."],
    [{ rope_scaling: { type: "linear", factor: -2 } }, "rope_scaling: expected the numbers that linear scaling needs"],
    [{ rope_theta: -1 }, "rope_theta: expected number to be >0, got -1."],
    [{ rope_parameters: { rope_theta: "big" } }, 'rope_theta: expected a positive number, got "big".'],
  ])("%j", async (changes, message) => {
    const error: unknown = await open(changes).then(() => undefined, (reason: unknown) => reason);
    expect(error).toMatchObject({ name: "FedtuneError", code: "model" });
    expect(String(error)).toContain("config.json: ");
    expect(String(error)).toContain(message);
  });

  test("a folder without one, and one that is not a JSON object", async () => {
    mkdirSync(join(root, "empty"));
    await expect(openArchitecture(join(root, "empty"))).rejects.toThrow(/empty: expected a config\.json that can be read, got .* Give the folder of a Hugging Face model/);
    await expect(openArchitecture(join(root, "nowhere"))).rejects.toMatchObject({ code: "model" });
    await expect(openArchitecture(folderWith("{ hidden_size"))).rejects.toThrow(/config\.json: expected a JSON object, got /);
    await expect(openArchitecture(folderWith("[1]"))).rejects.toThrow("config.json: expected a JSON object, got a list.");
    await expect(openArchitecture(folderWith("null"))).rejects.toMatchObject({ code: "model" });
  });
});

describe("a llama's config", () => {
  test("describes tensors as the checkpoint names them: q, k, v joined by rows, gate and up apart", async () => {
    const model = await open({});
    expect(model).toMatchObject({ vocabSize: 61, hiddenSize: 24, layers: 2, keyValueHeads: 2, headWidth: 4, maxPositions: 64 });
    expect(model.tensors.find(({ name }) => name.includes("1.self_attn.qkv"))).toMatchObject({ shape: [40, 24], parts: [{ rows: 24 }, { rows: 8 }, { rows: 8 }] });
    expect(["gate", "up"].map((part) => model.tensors.find(({ name }) => name.includes(`0.mlp.${part}`))?.shape)).toEqual([[35, 24], [35, 24]]);
    expect(model.linears).toHaveLength(15);
  });

  test("ties the output embedding, or gives it a tensor of its own", async () => {
    const [tied, own] = [await open({ tie_word_embeddings: true }), await open({ tie_word_embeddings: undefined })];
    expect([tied.tied, own.tied]).toEqual([new Map([["lm_head.weight", "model.embed_tokens.weight"]]), new Map()]);
    expect([tied, own].map((model) => model.tensors.some(({ name }) => name === "lm_head.weight"))).toEqual([false, true]);
    expect(own.tensors.length - tied.tensors.length).toBe(1);
  });

  test("may give linear modules biases: those of attention, or of the feed-forward", async () => {
    const biases = (model: Awaited<ReturnType<typeof open>>): string[] => model.tensors.flatMap(({ parts }) => parts.map(({ name }) => name)).filter((name) => /^model\.layers\.1\..*bias$/.test(name));
    expect(biases(await open({ attention_bias: true }))).toEqual(["q", "k", "v", "o"].map((name) => `model.layers.1.self_attn.${name}_proj.bias`));
    expect(biases(await open({ mlp_bias: true }))).toEqual(["gate", "up", "down"].map((name) => `model.layers.1.mlp.${name}_proj.bias`));
    expect((await open({ attention_bias: true })).linears.filter(({ bias }) => bias !== undefined)).toHaveLength(8);
  });

  test("may leave out the number of key-value heads, or give heads a width that does not come from hidden_size", async () => {
    expect(await open({ num_key_value_heads: null })).toMatchObject({ keyValueHeads: 6, headWidth: 4 });
    const wide = await open({ num_attention_heads: 5, num_key_value_heads: 1, head_dim: 6 });
    expect(wide.linears[0]).toMatchObject({ inFeatures: 24, outFeatures: 30 });
    expect(wide.linears[3]).toMatchObject({ inFeatures: 30, outFeatures: 24 });
  });
});
