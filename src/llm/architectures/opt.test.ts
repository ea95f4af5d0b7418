import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { openTiny, writeTinyModel } from "../../../test/support/tiny-models.ts";
import { leaveOut, logitsOfCache, lossesOfPacks } from "../../../test/support/tiny-passes.ts";
import { temporaryFolder } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";

const root = temporaryFolder();
const CONFIG = { model_type: "opt", vocab_size: 61, hidden_size: 20, ffn_dim: 28, num_hidden_layers: 2, num_attention_heads: 5, max_position_embeddings: 16, word_embed_proj_dim: 20 };
/** The shape of opt-350m: norms after the sublayers, embeddings of a width of their own. */
const NARROW = { ...CONFIG, do_layer_norm_before: false, word_embed_proj_dim: 12 };
const [folder, narrow] = [join(root, "model"), join(root, "narrow")];
writeTinyModel(folder, CONFIG);
writeTinyModel(narrow, NARROW);
const LORA = { method: "lora", target_modules: ["q_proj", "v_proj"], r: 2 };
const namesOf = (config: Readonly<Record<string, unknown>>): string[] => openTiny(config).tensors.flatMap(({ parts }) => parts.map(({ name }) => name));

describe("an OPT config", () => {
  test.each([
    [{ num_attention_heads: 3 }, "num_attention_heads: expected heads that divide the model's width 20, got 3."],
    [{ activation_function: "gelu_10" }, "activation_function: expected one of "],
    [{ enable_bias: 1 }, "enable_bias: expected boolean, got 1."],
    [{ word_embed_proj_dim: 1.5 }, "word_embed_proj_dim: expected int, got 1.5."],
    [{ max_position_embeddings: -4 }, "max_position_embeddings: expected number to be >0, got -4."],
  ])("is refused by the field that cannot be honoured: %j", (changes, message) => {
    expect(() => openTiny({ ...CONFIG, ...changes })).toThrow(`tiny model: ${message}`);
  });

  test("says which norms, biases and projections there are", () => {
    const all = namesOf(CONFIG);
    const without = (config: object): string[] => all.filter((name) => !namesOf({ ...CONFIG, ...config }).includes(name));
    expect(without({ layer_norm_elementwise_affine: false })).toEqual(all.filter((name) => name.includes("norm")));
    expect(without({ enable_bias: false })).toEqual(all.filter((name) => name.endsWith(".bias") && !name.includes("norm")));
    expect(without({ _remove_final_layer_norm: true })).toEqual(["model.decoder.final_layer_norm.weight", "model.decoder.final_layer_norm.bias"]);
    expect(without({ do_layer_norm_before: false })).toEqual(["model.decoder.final_layer_norm.weight", "model.decoder.final_layer_norm.bias"]);
    expect(namesOf({ ...CONFIG, word_embed_proj_dim: 12, tie_word_embeddings: false }).filter((name) => !all.includes(name))).toEqual(["model.decoder.project_out.weight", "model.decoder.project_in.weight", "lm_head.weight"]);
  });

  test("has two more rows in its table of positions than positions", () => {
    expect(openTiny(CONFIG)).toMatchObject({ maxPositions: 16, embeddingSize: 20 });
    expect(openTiny(CONFIG).tensors.find(({ name }) => name.includes("embed_positions"))?.shape).toEqual([18, 20]);
    expect(openTiny(NARROW)).toMatchObject({ hiddenSize: 20, embeddingSize: 12 });
  });
});

describe("an OPT", () => {
  test.each([
    [folder, LORA], [folder, { method: "prompt", num_virtual_tokens: 3 }], [folder, { method: "prefix", num_virtual_tokens: 3 }],
    [narrow, LORA], [narrow, { method: "prompt", num_virtual_tokens: 3 }],
  ])("gives packs the losses of their examples apart: %s %j", async (model, settings) => {
    const { packed, apart } = await lossesOfPacks(model, settings, [5, 13, 7]);
    expect(relativeError(packed, apart)).toBeLessThan(1e-5);
  });

  test.each([[folder, LORA], [narrow, LORA], [folder, { method: "prefix", num_virtual_tokens: 3 }]])("gives with a cache behind padding what it gives at once: %s %j", async (model, settings) => {
    const { cached, full } = await logitsOfCache(model, settings, { ids: [3, 1, 4, 1, 5, 9, 2, 6], first: 3 });
    expect(relativeError(cached, full)).toBeLessThan(1e-5);
  });

  test("reads row p + 2 of its table for position p, so never the first two", async () => {
    const lossesWith = async (rows: readonly number[], value: number): Promise<readonly number[]> => {
      const changed = join(root, `rows-${rows.join("-")}`);
      writeTinyModel(changed, CONFIG, { edit: (tensors) => { for (const row of rows) must(tensors.get("model.decoder.embed_positions.weight"), "positions").data.fill(value as never, row * 20, (row + 1) * 20); } });
      return (await lossesOfPacks(changed, LORA, [16, 9])).packed;
    };
    const losses = await lossesWith([], 0);
    const others = async (row: number): Promise<number> => (await lossesWith([row], 3)).filter((x) => !losses.includes(x)).length;
    expect(await lossesWith([0, 1], Number.NaN)).toEqual(losses);
    expect(await others(2)).toBe(losses.length);
    // Of 16 tokens, position 14 is the last whose loss is known.
    expect(await others(16)).toBe(1);
  });

  test("without biases and norms' weights is one whose biases are 0 and whose norms' weights are 1", async () => {
    writeTinyModel(join(root, "without"), { ...CONFIG, enable_bias: false, layer_norm_elementwise_affine: false });
    writeTinyModel(join(root, "neutral"), CONFIG, { edit: (tensors) => {
      for (const [name, { data }] of tensors) if (name.endsWith(".bias") || name.includes("norm")) data.fill(Number(name.endsWith(".weight")) as never);
    } });
    const [without, neutral] = [await lossesOfPacks(join(root, "without"), LORA, [9]), await lossesOfPacks(join(root, "neutral"), LORA, [9])];
    expect(relativeError(without.packed, neutral.packed)).toBeLessThan(1e-6);
  });

  test("opens where the checkpoint leaves out the prefix", async () => {
    writeTinyModel(join(root, "bare"), CONFIG, { edit: leaveOut("model.") });
    expect(await lossesOfPacks(join(root, "bare"), LORA, [5, 7])).toEqual(await lossesOfPacks(folder, LORA, [5, 7]));
  });
});
