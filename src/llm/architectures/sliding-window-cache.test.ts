/** Windows, layers that do not rotate and scaled rotations behind a cache, with an adapter of each kind that moves positions. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { writeTinyModel } from "../../../test/support/tiny-models.ts";
import { logitsOfCache, lossesOfPacks } from "../../../test/support/tiny-passes.ts";
import { randomDataset, temporaryFolder } from "../../../test/support/tiny-training.ts";
import { IGNORED_LABEL } from "../data/types.ts";

const root = temporaryFolder();
const SIZES = { vocab_size: 29, hidden_size: 16, intermediate_size: 21, num_hidden_layers: 3, num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 48, rope_theta: 50 };
const LENGTH = 12;
const TEXT = randomDataset([LENGTH], SIZES.vocab_size);
const ADAPTERS = [{ method: "lora", target_modules: "all-linear", r: 2 }, { method: "prefix", num_virtual_tokens: 3 }, { method: "prompt", num_virtual_tokens: 3 }];

/** Losses of the labelled tokens of TEXT, sorted, from the logits of its places. */
function lossesFrom(logits: Float32Array): readonly number[] {
  const loss = (place: number, id: number): number => {
    const row = logits.subarray(place * SIZES.vocab_size, (place + 1) * SIZES.vocab_size);
    return Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - (row[id] ?? 0);
  };
  return [...TEXT.labels].flatMap((id, place) => (id === IGNORED_LABEL ? [] : [loss(place - 1, id)])).sort((a, b) => a - b);
}

test.each<[string, Readonly<Record<string, unknown>>]>([
  ["mistral", { sliding_window: 4 }],
  ["phi3", { sliding_window: 4, partial_rotary_factor: 0.5 }],
  ["phi3", { original_max_position_embeddings: 20, rope_scaling: { type: "longrope", short_factor: [1.2, 1.7], long_factor: [3, 4] } }],
  ["qwen2", { use_sliding_window: true, sliding_window: 4, max_window_layers: 1 }],
  ["qwen3", { head_dim: 6, attention_bias: true, use_sliding_window: true, sliding_window: 4, max_window_layers: 1 }],
  ["smollm3", { no_rope_layers: [1, 0, 1], use_sliding_window: true, sliding_window: 4, rope_scaling: { type: "yarn", factor: 4, original_max_position_embeddings: 12 } }],
])("%s with %j generates with its cache what it says without and what it was trained on, and packs keep examples apart", async (model_type, changes) => {
  const folder = join(root, `${model_type} ${Object.keys(changes).join(" ")}`);
  writeTinyModel(folder, { model_type, ...SIZES, ...changes });
  for (const settings of ADAPTERS) {
    const { cached, full } = await logitsOfCache(folder, settings, { ids: [...TEXT.ids], first: 0 });
    expect([settings.method, relativeError(cached, full) < 1e-5]).toEqual([settings.method, true]);
    const trained = await lossesOfPacks(folder, settings, [LENGTH]);
    expect([settings.method, relativeError(lossesFrom(full), trained.packed) < 1e-5]).toEqual([settings.method, true]);
    const { packed, apart } = await lossesOfPacks(folder, settings, [9, 7, 5]);
    expect([settings.method, relativeError(packed, apart) < 1e-5]).toEqual([settings.method, true]);
  }
});
