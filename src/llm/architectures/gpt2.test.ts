import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { openTiny, writeTinyModel } from "../../../test/support/tiny-models.ts";
import { leaveOut, logitsOfCache, lossesOfMerged, lossesOfPacks } from "../../../test/support/tiny-passes.ts";
import { temporaryFolder } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { tensor, type Tensor } from "../../core/base/tensor.ts";

const root = temporaryFolder();
const CONFIG = { model_type: "gpt2", vocab_size: 61, n_embd: 20, n_layer: 2, n_head: 5, n_positions: 16 };
const folder = join(root, "model");
writeTinyModel(folder, CONFIG);
const LORA = { method: "lora", target_modules: ["c_attn"], r: 2 };

/** As the first releases on the Hub hold them: no prefix, and masks among the weights. */
function asFirstReleased(tensors: Map<string, Tensor>): void {
  leaveOut("transformer.")(tensors);
  tensors.set("h.0.attn.bias", tensor("bool", [1, 1, 3, 3], Uint8Array.of(1, 0, 0, 1, 1, 0, 1, 1, 1)));
}

describe("a GPT-2 config", () => {
  test.each([
    [{ n_head: 3 }, "n_head: expected heads that divide the model's width 20, got 3."],
    [{ activation_function: "hardswish" }, "activation_function: expected one of "],
    [{ add_cross_attention: true }, "add_cross_attention: expected false, got true."],
    [{ n_inner: 0 }, "n_inner: expected number to be >0, got 0."],
    [{ scale_attn_weights: "yes" }, 'scale_attn_weights: expected boolean, got "yes".'],
    [{ layer_norm_epsilon: -1 }, "layer_norm_epsilon: expected number to be >0, got -1."],
  ])("is refused by the field that cannot be honoured: %j", (changes, message) => {
    expect(() => openTiny({ ...CONFIG, ...changes })).toThrow(`tiny model: ${message}`);
  });

  test("may use transformers' general names, and leave out what has a default", () => {
    const { n_embd: hidden_size, n_layer: num_hidden_layers, n_head: num_attention_heads, n_positions: max_position_embeddings, ...rest } = CONFIG;
    expect(openTiny({ ...rest, hidden_size, num_hidden_layers, num_attention_heads, max_position_embeddings })).toEqual({ ...openTiny(CONFIG), forward: expect.any(Function) as unknown });
    expect(openTiny({ model_type: "gpt2" })).toMatchObject({ vocabSize: 50_257, hiddenSize: 768, layers: 12, heads: 12, maxPositions: 1024 });
  });

  test("keeps its weights transposed, and widens its feed-forward fourfold where n_inner says nothing", () => {
    const shapeOf = (config: Readonly<Record<string, unknown>>, name: string) => openTiny(config).tensors.find((t) => t.name === name)?.shape;
    expect(shapeOf(CONFIG, "transformer.h.1.mlp.c_fc.weight")).toEqual([20, 80]);
    expect(shapeOf({ ...CONFIG, n_inner: 7 }, "transformer.h.1.mlp.c_proj.weight")).toEqual([7, 20]);
    expect(openTiny(CONFIG).linears.find((l) => l.path.endsWith("0.attn.c_attn"))).toMatchObject({ inFeatures: 20, outFeatures: 60, layout: "in_out" });
  });
});

describe("a GPT-2", () => {
  test.each([LORA, { method: "prompt", num_virtual_tokens: 3 }, { method: "prefix", num_virtual_tokens: 3 }])("gives packs the losses of their examples apart: %j", async (settings) => {
    const { packed, apart } = await lossesOfPacks(folder, settings, [5, 13, 7]);
    expect(relativeError(packed, apart)).toBeLessThan(1e-5);
  });

  test.each([LORA, { method: "prefix", num_virtual_tokens: 3 }])("gives with a cache behind padding what it gives at once: %j", async (settings) => {
    const { cached, full } = await logitsOfCache(folder, settings, { ids: [3, 1, 4, 1, 5, 9, 2, 6], first: 3 });
    expect(relativeError(cached, full)).toBeLessThan(1e-5);
  });

  test("reads row p of its table for position p", async () => {
    const lossesWith = async (row: number, value: number): Promise<readonly number[]> => {
      writeTinyModel(join(root, `row-${row}`), CONFIG, { edit: (tensors) => { must(tensors.get("transformer.wpe.weight"), "positions").data.fill(value as never, row * 20, (row + 1) * 20); } });
      return (await lossesOfPacks(join(root, `row-${row}`), { ...LORA, target_modules: ["c_proj"] }, [16, 9])).packed;
    };
    const losses = await lossesWith(15, 0);
    const others = async (row: number): Promise<number> => (await lossesWith(row, 3)).filter((x) => !losses.includes(x)).length;
    // Of 16 tokens, position 14 is the last whose loss is known.
    expect([await others(0), await others(14), await others(15)]).toEqual([losses.length, 1, 0]);
  });

  test("scales its scores as the config says: like queries that are larger or smaller", async () => {
    /** Multiplies the queries of each layer, the first 20 of 60 columns. */
    const scaleQueries = (factors: readonly number[]) => (tensors: Map<string, Tensor>): void => {
      for (const [i, factor] of factors.entries()) {
        for (const part of ["weight", "bias"]) {
          const { data } = must(tensors.get(`transformer.h.${i}.attn.c_attn.${part}`), part);
          for (let at = 0; at < data.length; at++) if (at % 60 < 20) data[at] = Number(data[at]) * factor;
        }
      }
    };
    const lossesWith = async (name: string, changes: object, factors: readonly number[]): Promise<readonly number[]> => {
      writeTinyModel(join(root, name), { ...CONFIG, ...changes }, { edit: scaleQueries(factors) });
      return (await lossesOfPacks(join(root, name), { ...LORA, target_modules: ["c_fc"] }, [9])).packed;
    };
    const plain = await lossesWith("plain", {}, []);
    // Heads are 4 wide.
    expect(relativeError(await lossesWith("unscaled", { scale_attn_weights: false }, [1 / 2, 1 / 2]), plain)).toBeLessThan(1e-5);
    expect(relativeError(await lossesWith("by-layer", { scale_attn_by_inverse_layer_idx: true }, [1, 2]), plain)).toBeLessThan(1e-5);
  });

  test("opens and merges where the checkpoint leaves out the prefix and holds masks", async () => {
    const bare = join(root, "bare");
    writeTinyModel(bare, CONFIG, { edit: asFirstReleased });
    expect(await lossesOfPacks(bare, LORA, [5, 7])).toEqual(await lossesOfPacks(folder, LORA, [5, 7]));

    const { adapted, base, merged } = await lossesOfMerged(bare, { ...LORA, target_modules: "all-linear" }, { out: join(root, "merged"), lengths: [5, 7] });
    expect(relativeError(merged, adapted)).toBeLessThan(1e-5);
    expect(relativeError(base, adapted)).toBeGreaterThan(1e-2);
  });
});
