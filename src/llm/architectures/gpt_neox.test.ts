import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { openTiny, writeTinyModel } from "../../../test/support/tiny-models.ts";
import { logitsOfCache, lossesOfMerged, lossesOfPacks } from "../../../test/support/tiny-passes.ts";
import { temporaryFolder } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import { readSafetensors } from "../../core/formats/safetensors.ts";

const root = temporaryFolder();
const CONFIG = { model_type: "gpt_neox", vocab_size: 61, hidden_size: 24, intermediate_size: 35, num_hidden_layers: 2, num_attention_heads: 3, max_position_embeddings: 64, rotary_pct: 0.25, rotary_emb_base: 500 };
const folder = join(root, "model");
const LORA = { method: "lora", target_modules: ["query_key_value"], r: 2 };

/** As files on the Hub call the output embedding. */
function renameHead(tensors: Map<string, Tensor>): void {
  tensors.set("embed_out.weight", must(tensors.get("lm_head.weight"), "head"));
  tensors.delete("lm_head.weight");
}
writeTinyModel(folder, CONFIG, { edit: renameHead });

/** Losses under a LoRA of a model with this config, whose weights are those of the others. */
async function lossesWith(name: string, changes: Readonly<Record<string, unknown>>): Promise<readonly number[]> {
  writeTinyModel(join(root, name), { ...CONFIG, ...changes });
  return (await lossesOfPacks(join(root, name), LORA, [9])).packed;
}

describe("a GPT-NeoX config", () => {
  test.each([
    [{ num_attention_heads: 5 }, "num_attention_heads: expected heads that divide the model's width 24, got 5."],
    [{ hidden_act: "mish" }, "hidden_act: expected one of "],
    [{ rotary_pct: 1.5 }, "rotary_pct: expected number to be <=1, got 1.5."],
    [{ rotary_emb_base: 0 }, "rotary_emb_base: expected number to be >0, got 0."],
    [{ rope_scaling: { type: "dynamic", factor: 2 } }, "rope_scaling: expected a rotary scaling that is supported"],
    [{ use_parallel_residual: null }, "use_parallel_residual: expected boolean, got null."],
  ])("is refused by the field that cannot be honoured: %j", (changes, message) => {
    expect(() => openTiny({ ...CONFIG, ...changes })).toThrow(`tiny model: ${message}`);
  });

  test("may write rotary settings as transformers 4 or 5; names that it does not use count for nothing", async () => {
    const losses = await lossesWith("old", {});
    const now = { rotary_pct: undefined, rotary_emb_base: undefined, rope_parameters: { rope_type: "default", rope_theta: 500, partial_rotary_factor: 0.25 } };
    expect(await lossesWith("new", now)).toEqual(losses);
    expect(await lossesWith("foreign", { rope_theta: 7, partial_rotary_factor: 1 })).toEqual(losses);
    expect(await lossesWith("wider", { rotary_pct: 0.5 })).not.toEqual(losses);
    expect(await lossesWith("other", { rotary_emb_base: 900, rotary_pct: 0.5 })).not.toEqual(await lossesWith("wider", { rotary_pct: 0.5 }));
  });
});

describe("a GPT-NeoX", () => {
  test.each([LORA, { method: "prompt", num_virtual_tokens: 3 }, { method: "prefix", num_virtual_tokens: 3 }])("gives packs the losses of their examples apart: %j", async (settings) => {
    const { packed, apart } = await lossesOfPacks(folder, settings, [5, 13, 7]);
    expect(relativeError(packed, apart)).toBeLessThan(1e-5);
  });

  test.each([LORA, { method: "prefix", num_virtual_tokens: 3 }])("gives with a cache behind padding what it gives at once: %j", async (settings) => {
    const { cached, full } = await logitsOfCache(folder, settings, { ids: [3, 1, 4, 1, 5, 9, 2, 6], first: 3 });
    expect(relativeError(cached, full)).toBeLessThan(1e-5);
  });

  test("finds its output embedding by the file's name or the module's, and merges a change of it", async () => {
    writeTinyModel(join(root, "module-name"), CONFIG);
    expect(await lossesOfPacks(join(root, "module-name"), LORA, [5, 7])).toEqual(await lossesOfPacks(folder, LORA, [5, 7]));
    const { adapted, base, merged } = await lossesOfMerged(folder, { ...LORA, target_modules: ["lm_head"] }, { out: join(root, "merged"), lengths: [5, 7] });
    expect(relativeError(merged, adapted)).toBeLessThan(1e-5);
    expect(relativeError(base, adapted)).toBeGreaterThan(1e-2);
  });

  test("without biases in its attention is one whose biases there are 0", async () => {
    writeTinyModel(join(root, "neutral"), CONFIG, { edit: (tensors) => {
      for (const [name, { data }] of tensors) if (/attention\..*bias$/.test(name)) data.fill(0 as never);
    } });
    expect(relativeError(await lossesWith("without", { attention_bias: false }), (await lossesOfPacks(join(root, "neutral"), LORA, [9])).packed)).toBeLessThan(1e-6);
  });

  test("gets an output embedding of its own, by the file's name, where a change unties it", async () => {
    const tied = join(root, "tied");
    writeTinyModel(tied, { ...CONFIG, tie_word_embeddings: true });
    const { adapted, base, merged } = await lossesOfMerged(tied, { ...LORA, target_modules: ["lm_head"] }, { out: join(root, "untied"), lengths: [5, 7] });
    expect(relativeError(merged, adapted)).toBeLessThan(1e-5);
    expect(relativeError(base, adapted)).toBeGreaterThan(1e-2);
    expect([...readSafetensors(join(root, "untied", "model.safetensors")).tensors.keys()].filter((name) => !name.startsWith("gpt_neox."))).toEqual(["embed_out.weight"]);
  });

  test("has its sublayers side by side or one after the other", async () => {
    expect(relativeError(await lossesWith("serial", { use_parallel_residual: false }), await lossesWith("parallel", {}))).toBeGreaterThan(1e-2);
  });
});
