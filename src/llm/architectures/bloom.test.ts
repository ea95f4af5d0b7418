import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { openTiny, writeTinyModel } from "../../../test/support/tiny-models.ts";
import { leaveOut, logitsOfCache, lossesOfLogits, lossesOfPacks } from "../../../test/support/tiny-passes.ts";
import { temporaryFolder } from "../../../test/support/tiny-training.ts";
import { alibiSlopes } from "./bloom.ts";

const root = temporaryFolder();
const CONFIG = { model_type: "bloom", vocab_size: 61, hidden_size: 24, n_layer: 2, n_head: 6 };
const folder = join(root, "model");
writeTinyModel(folder, CONFIG);
const LORA = { method: "lora", target_modules: ["query_key_value"], r: 2 };

describe("slopes of ALiBi", () => {
  test("halve from head to head for 8 heads, and go by the root of a half for 16", () => {
    expect(alibiSlopes(8)).toEqual([1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]);
    expect(relativeError(alibiSlopes(16), Array.from({ length: 16 }, (_, i) => Math.SQRT1_2 ** (i + 1)))).toBeLessThan(1e-15);
    expect(alibiSlopes(1)).toEqual([1 / 256]);
  });

  test("take every other one of the next power's for the heads beyond a power of two", () => {
    expect(alibiSlopes(12)).toEqual([...alibiSlopes(8), ...[0, 2, 4, 6].map((i) => alibiSlopes(16)[i])]);
    expect(alibiSlopes(7)).toEqual([...alibiSlopes(4), ...[0, 2, 4].map((i) => alibiSlopes(8)[i])]);
  });
});

describe("a BLOOM config", () => {
  test.each([
    [{ n_head: 5 }, "n_head: expected heads that divide the model's width 24, got 5."],
    [{ num_attention_heads: 7 }, "n_head: expected heads that divide the model's width 24, got 7."],
    [{ n_layer: 0 }, "n_layer: expected number to be >0, got 0."],
    [{ apply_residual_connection_post_layernorm: "no" }, 'apply_residual_connection_post_layernorm: expected boolean, got "no".'],
  ])("is refused by the field that cannot be honoured: %j", (changes, message) => {
    expect(() => openTiny({ ...CONFIG, ...changes })).toThrow(`tiny model: ${message}`);
  });

  test("may use the names of the first releases, which win over others", () => {
    const first = { model_type: "bloom", vocab_size: 61, hidden_size: 99, n_embed: 24, n_layer: 2, num_attention_heads: 6, seq_length: 512, offset_alibi: 100, n_inner: null };
    expect(openTiny(first)).toEqual({ ...openTiny(CONFIG), maxPositions: 512, forward: expect.any(Function) as unknown });
  });
});

describe("a BLOOM", () => {
  test.each([LORA, { method: "prompt", num_virtual_tokens: 3 }, { method: "prefix", num_virtual_tokens: 3 }])("gives packs the losses of their examples apart: ALiBi starts anew, behind a prefix too: %j", async (settings) => {
    const { packed, apart } = await lossesOfPacks(folder, settings, [5, 13, 7]);
    expect(relativeError(packed, apart)).toBeLessThan(1e-5);
  });

  test.each([LORA, { method: "prefix", num_virtual_tokens: 3 }])("gives with a cache behind padding what it gives at once: %j", async (settings) => {
    const { cached, full } = await logitsOfCache(folder, settings, { ids: [3, 1, 4, 1, 5, 9, 2, 6], first: 3 });
    expect(relativeError(cached, full)).toBeLessThan(1e-5);
  });

  test("counts distances from a prefix alike in training and in generation", async () => {
    const { trained, generated } = await lossesOfLogits(folder, { method: "prefix", num_virtual_tokens: 3 }, 9);
    expect(relativeError(trained, generated)).toBeLessThan(1e-5);
  });

  test.each([["input_layernorm", "self_attention.dense"], ["post_attention_layernorm", "mlp.dense_4h_to_h"]])("adds what comes behind %s to the normed input only where the config says so", async (norm, last) => {
    const lossesWith = async (apply_residual_connection_post_layernorm: boolean, shift: number): Promise<readonly number[]> => {
      const changed = join(root, `${norm}-${apply_residual_connection_post_layernorm}-${shift}`);
      writeTinyModel(changed, { ...CONFIG, apply_residual_connection_post_layernorm }, { edit: (tensors) => {
        for (const [name, { data }] of tensors) {
          // A sublayer that adds 0: its norm is seen in the sum alone.
          if (name.includes(last)) data.fill(0 as never);
          if (name.endsWith(`${norm}.bias`)) for (const [i, x] of data.entries()) data[i] = Number(x) + shift * (i % 3);
        }
      } });
      return (await lossesOfPacks(changed, LORA, [9])).packed;
    };
    expect(await lossesWith(false, 1)).toEqual(await lossesWith(false, 0));
    expect(relativeError(await lossesWith(true, 1), await lossesWith(true, 0))).toBeGreaterThan(1e-2);
  });

  test("opens where the checkpoint leaves out the prefix", async () => {
    writeTinyModel(join(root, "bare"), CONFIG, { edit: leaveOut("transformer.") });
    expect(await lossesOfPacks(join(root, "bare"), LORA, [5, 7])).toEqual(await lossesOfPacks(folder, LORA, [5, 7]));
  });
});
