import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { TINY_CONFIG } from "../../../test/support/tiny-llama.ts";
import { NO_SOURCES, randomAdapter, temporaryFolder } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { elementCount } from "../../core/base/tensor.ts";
import { openArchitecture } from "../architectures/all.ts";
import { llama } from "../architectures/llama.ts";
import type { ParameterSpec } from "./adapter.ts";
import { readAdapterSettings, readAdapterTensors, writeAdapterFolder } from "./adapter-folder.ts";
import { bindAdapter, initialTensors, type StartContext } from "./all.ts";
import { adapterSchema } from "./settings.ts";

const root = temporaryFolder();
const model = llama.open(TINY_CONFIG, "test");
const bind = (settings: Readonly<Record<string, unknown>>) => bindAdapter(adapterSchema.parse(settings), model);
const shapes = (specs: readonly ParameterSpec[] = []) => Object.fromEntries(specs.map(({ name, shape }) => [name, shape]));
const bytes = (specs: readonly ParameterSpec[] = []): number => 4 * specs.reduce((n, { shape }) => n + elementCount(shape), 0);

/** An embedding table whose row i holds 100 i, 100 i + 1, …; a tokenizer that knows letters. */
const SOURCES: StartContext = {
  base: (name) => Float32Array.from({ length: 61 * 24 }, (_, i) => (name === model.embedding ? 100 * Math.floor(i / 24) + (i % 24) : Number.NaN)),
  tokenize: (text) => Int32Array.from(text, (letter) => letter.charCodeAt(0) - 97),
};
const start = (settings: Readonly<Record<string, unknown>>, seed = 4) => must(initialTensors(bind(settings).parameters, seed, SOURCES).get("prompt_embeddings"), "prompt_embeddings").data;
const rowsOf = (data: Float32Array): number[] => Array.from({ length: data.length / 24 }, (_, i) => (data[i * 24] ?? 0) / 100);

describe("the tensors", () => {
  test("of a prompt are one embedding a virtual token", () => {
    const { parameters, encoder, virtualTokens, prefixTokens } = bind({ method: "prompt", num_virtual_tokens: 7 });
    expect([shapes(parameters), encoder, virtualTokens, prefixTokens]).toEqual([{ prompt_embeddings: [7, 24] }, undefined, 7, 0]);
  });

  test("of a prefix are a key and a value of each layer for each token, as wide as grouped queries make them", () => {
    const { parameters, encoder, virtualTokens, prefixTokens } = bind({ method: "prefix", num_virtual_tokens: 3 });
    expect([shapes(parameters), encoder, virtualTokens, prefixTokens]).toEqual([{ prompt_embeddings: [3, 2 * 2 * 8] }, undefined, 0, 3]);
  });

  test("of a projected prefix are its encoder's, by PyTorch's names", () => {
    const { encoder } = bind({ method: "prefix", num_virtual_tokens: 3, prefix_projection: true, encoder_hidden_size: 5 });
    expect(shapes(encoder?.specs)).toEqual({
      "prompt_encoder.embedding.weight": [3, 8],
      "prompt_encoder.transform.0.weight": [5, 8], "prompt_encoder.transform.0.bias": [5],
      "prompt_encoder.transform.2.weight": [32, 5], "prompt_encoder.transform.2.bias": [32],
    });
  });

  test("of p-tuning by an LSTM are two directions of each layer and a head", () => {
    const { encoder } = bind({ method: "p_tuning", num_virtual_tokens: 3, encoder_reparameterization_type: "LSTM", encoder_hidden_size: 5, encoder_num_layers: 2 });
    const named = shapes(encoder?.specs);
    expect(named).toMatchObject({
      "prompt_encoder.lstm_head.weight_ih_l0": [20, 24], "prompt_encoder.lstm_head.weight_hh_l0_reverse": [20, 5],
      "prompt_encoder.lstm_head.weight_ih_l1_reverse": [20, 10], "prompt_encoder.lstm_head.bias_hh_l1": [20],
      "prompt_encoder.mlp_head.0.weight": [10, 10], "prompt_encoder.mlp_head.2.weight": [24, 10],
    });
    expect(Object.keys(named)).toHaveLength(1 + 16 + 4);
  });

  test("that travel are 0.3 MiB in place of 192 MiB for LLaMA-7B and 20 virtual tokens", () => {
    const large = llama.open({ model_type: "llama", vocab_size: 32_000, hidden_size: 4096, intermediate_size: 11_008, num_hidden_layers: 32, num_attention_heads: 32, max_position_embeddings: 2048 }, "LLaMA-7B");
    const mebibytes = (encoder: string): number[] => {
      const bound = bindAdapter(adapterSchema.parse({ method: "p_tuning", num_virtual_tokens: 20, encoder }), large);
      const travelling = bound.encoder?.travels === true ? bound.encoder.specs : bound.parameters;
      return [bytes(travelling), bytes(bound.encoder?.specs)].map((n) => Math.round((n / 2 ** 20) * 10) / 10);
    };
    expect([mebibytes("local"), mebibytes("shared")]).toEqual([[0.3, 192.4], [192.4, 192.4]]);
  });
});

describe("virtual tokens start", () => {
  test("from normal numbers that depend on the seed", () => {
    const drawn = start({ method: "prompt", num_virtual_tokens: 40 });
    const mean = drawn.reduce((a, b) => a + b, 0) / drawn.length;
    const variance = drawn.reduce((sum, x) => sum + (x - mean) ** 2, 0) / drawn.length;
    expect([Math.abs(mean) < 0.1, Math.abs(variance - 1) < 0.15]).toEqual([true, true]);
    expect(start({ method: "prompt", num_virtual_tokens: 40 }, 5)).not.toEqual(drawn);
  });

  test("from embeddings of drawn tokens", () => {
    const drawn = start({ method: "prompt", num_virtual_tokens: 30, init: "vocabulary" });
    const rows = rowsOf(drawn);
    expect(rows.every((row) => Number.isInteger(row) && row >= 0 && row < 61)).toBe(true);
    expect(new Set(rows).size).toBeGreaterThan(15);
    expect([...drawn.subarray(24, 48)]).toEqual(Array.from({ length: 24 }, (_, i) => 100 * (rows[1] ?? 0) + i));
  });

  test.each([["cab", [2, 0, 1, 2, 0]], ["gfedcba", [6, 5, 4, 3, 2]]])("from a text, repeated or cut to their number: %s", (init_text, rows) => {
    expect(rowsOf(start({ method: "prompt", num_virtual_tokens: 5, init: "text", init_text }))).toEqual(rows);
  });

  test("from embeddings as the model scales them", () => {
    const scaled = bindAdapter(adapterSchema.parse({ method: "prompt", num_virtual_tokens: 2, init: "text", init_text: "cb" }), { ...model, embeddingScale: 3 });
    expect(rowsOf(must(initialTensors(scaled.parameters, 4, SOURCES).get("prompt_embeddings"), "start").data)).toEqual([6, 3]);
  });

  test("as PyTorch's layers do: uniform within 1/√hidden in an LSTM, within 1/√in in a linear layer", () => {
    const { encoder } = bind({ method: "p_tuning", encoder_reparameterization_type: "LSTM", encoder_hidden_size: 36 });
    const drawn = initialTensors(encoder?.specs ?? [], 4, NO_SOURCES);
    const largest = (name: string): number => must(drawn.get(`prompt_encoder.${name}`), name).data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const within = (name: string, bound: number) => expect([name, largest(name) <= bound, largest(name) > 0.8 * bound]).toEqual([name, true, true]);
    within("lstm_head.weight_ih_l0", 1 / 6);
    within("lstm_head.bias_hh_l1_reverse", 1 / 6);
    within("mlp_head.0.weight", 1 / Math.sqrt(72));
    within("mlp_head.2.bias", 1 / Math.sqrt(72));
  });

  test("at zero where init_weights says so, with and without projection", () => {
    expect(start({ method: "prefix", init_weights: "zero" }).every((x) => x === 0)).toBe(true);
    const drawn = initialTensors(bind({ method: "prefix", init_weights: "zero", prefix_projection: true }).encoder?.specs ?? [], 4, NO_SOURCES);
    const zero = [...drawn].filter(([, { data }]) => data.every((x) => x === 0)).map(([name]) => name);
    expect(zero).toEqual(["prompt_encoder.transform.2.weight", "prompt_encoder.transform.2.bias"]);
  });
});

describe("is refused by name:", () => {
  test.each([
    ["more virtual tokens than positions", { method: "prompt", num_virtual_tokens: 64 }, "adapter.num_virtual_tokens: expected fewer than the model's 64 positions, got 64"],
    ["a prefix that leaves no room", { method: "prefix", num_virtual_tokens: 70 }, "adapter.num_virtual_tokens"],
    ["p-tuning that leaves no room", { method: "p_tuning", num_virtual_tokens: 70 }, "adapter.num_virtual_tokens"],
    ["a start from a text without the text", { method: "prompt", init: "text" }, "adapter.init_text: expected the text that virtual tokens start from, got none"],
    ["a text that is not started from", { method: "prompt", init_text: "a" }, "adapter.init_text: expected no text with init: random"],
    ["an encoder that stays where there is none", { method: "prefix", encoder: "local" }, "adapter.encoder: expected shared where there is no encoder, got local"],
  ])("%s", (_, settings, message) => {
    expect(() => bind(settings)).toThrow(message);
  });

  test("dropout within the encoder", () => {
    const parsed = adapterSchema.safeParse({ method: "p_tuning", encoder_dropout: 0.1 });
    expect(parsed.error?.issues[0]?.path).toEqual(["encoder_dropout"]);
  });

  test("a token that the model has no embedding for", () => {
    expect(() => initialTensors(bind({ method: "prompt", init: "text", init_text: "é" }).parameters, 1, SOURCES)).toThrow("adapter.init_text: expected tokens that the model's 61 embeddings have, got id 136");
    expect(() => initialTensors(bind({ method: "prompt", init: "text", init_text: " " }).parameters, 1, { ...SOURCES, tokenize: () => new Int32Array() })).toThrow("a text of at least one token");
  });
});

const GOLDENS = "../shared/goldens/peft";
const goldens = existsSync(GOLDENS) ? readdirSync(GOLDENS).filter((name) => /\.(prompt|prefix|prefix-projection|p-tuning-mlp|p-tuning-lstm)$/.test(name)) : [];

describe.skipIf(goldens.length === 0)("an adapter that PEFT saved (skipped without ../shared/goldens)", () => {
  test.each(goldens)("comes back as it was: %s", async (name) => {
    const source = join(GOLDENS, name, "adapter");
    const base = await openArchitecture("assets/stories260k");
    const settings = readAdapterSettings(source);
    const out = join(root, name);
    writeAdapterFolder(out, { settings, model: base, baseModel: "stories260k", ...readAdapterTensors(source, bindAdapter(settings, base)) });
    const config = (folder: string): unknown => JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8"));
    expect(config(out)).toEqual(config(source));
    expect(readAdapterTensors(out, bindAdapter(settings, base))).toEqual(readAdapterTensors(source, bindAdapter(settings, base)));
  });
});

describe("an adapter's folder", () => {
  const write = (name: string, settings: Readonly<Record<string, unknown>>): string => {
    const parsed = adapterSchema.parse(settings);
    const bound = bindAdapter(parsed, model);
    const encoder = bound.encoder?.travels === true ? { encoder: randomAdapter(bound.encoder.specs) } : {};
    writeAdapterFolder(join(root, name), { settings: parsed, model, baseModel: "tiny", parameters: randomAdapter(bound.parameters), frozen: new Map(), ...encoder });
    return join(root, name);
  };

  test.each([
    ["a prompt from a text", { method: "prompt", num_virtual_tokens: 3, init: "text", init_text: "once" }],
    ["a prompt from the vocabulary", { method: "prompt", num_virtual_tokens: 3, init: "vocabulary" }],
    ["a prefix from zero", { method: "prefix", num_virtual_tokens: 3, init_weights: "zero", encoder_hidden_size: 8 }],
    ["an LSTM of three layers", { method: "p_tuning", num_virtual_tokens: 3, encoder_reparameterization_type: "LSTM", encoder_num_layers: 3, encoder_hidden_size: 5 }],
  ])("keeps the settings of %s", (name, settings) => {
    expect(readAdapterSettings(write(name, settings))).toEqual(adapterSchema.parse(settings));
  });

  test("names the tokenizer of a text, without which PEFT refuses it", () => {
    const folder = write("text", { method: "prompt", init: "text", init_text: "once" });
    expect(JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8"))).toMatchObject({ prompt_tuning_init: "TEXT", prompt_tuning_init_text: "once", tokenizer_name_or_path: "tiny" });
  });

  test("holds a trained encoder beside what PEFT reads, and none that an earlier adapter left", () => {
    const settings = { method: "p_tuning", num_virtual_tokens: 3, encoder_hidden_size: 5 };
    const folder = write("encoder", settings);
    const bound = bind(settings);
    expect(readAdapterTensors(folder, bound).encoder).toEqual(randomAdapter(bound.encoder?.specs ?? []));
    expect(readAdapterTensors(folder, bind({ ...settings, encoder: "local", encoder_hidden_size: 7 })).encoder).toBeUndefined();
    write("encoder", { ...settings, encoder: "local" });
    expect(readAdapterTensors(folder, bound).encoder).toBeUndefined();
  });

  test("is refused by the tensor that does not fit", () => {
    const folder = write("wrong", { method: "prefix", num_virtual_tokens: 3 });
    expect(() => readAdapterTensors(folder, bind({ method: "prefix", num_virtual_tokens: 4 }))).toThrow("prompt_embeddings: expected shape [4, 32], got [3, 32]");
    const encoded = write("wrong encoder", { method: "p_tuning", num_virtual_tokens: 3, encoder_hidden_size: 5 });
    expect(() => readAdapterTensors(encoded, bind({ method: "p_tuning", num_virtual_tokens: 3, encoder_hidden_size: 6 }))).toThrow("encoder.safetensors: prompt_encoder.mlp_head.0.weight: expected shape [6, 24], got [5, 24]");
    expect(() => readAdapterTensors(encoded, bind({ method: "p_tuning", num_virtual_tokens: 3, encoder_reparameterization_type: "LSTM", encoder_hidden_size: 5 }))).toThrow(/a surplus tensor prompt_encoder.mlp_head.4/);
  });
});
