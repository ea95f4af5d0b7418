/** Phi-3 (Abdin et al. 2024): Llama's layers with q, k, v in one module, gate and up in another, and heads of which a share rotates. */
import { z } from "zod";
import * as g from "../../engine/graph/operations.ts";
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { attentionSizes, count, indices, parseConfig } from "./config.ts";
import { decoderFields } from "./decoder-layers.ts";
import { longRotaryFrequencies } from "./longrope.ts";
import { ModuleList } from "./modules.ts";
import { rotaryTables } from "./rotary.ts";

const phi3Config = z.looseObject({
  ...decoderFields,
  num_key_value_heads: count.nullish(),
  max_position_embeddings: count.default(4096),
  original_max_position_embeddings: count.default(4096),
  rms_norm_eps: z.number().positive().default(1e-5),
  tie_word_embeddings: z.boolean().default(false),
  sliding_window: count.nullish(),
});

export const phi3: Architecture = {
  open(raw, where): ArchitectureModel {
    const config = parseConfig(phi3Config, raw, where);
    const { vocab_size: vocab, hidden_size: d, intermediate_size: f, rms_norm_eps: epsilon } = config;
    const { heads, keyValueHeads, headWidth } = attentionSizes(config, where);
    const [queryWidth, keyWidth] = [heads * headWidth, keyValueHeads * headWidth];
    const { maxPositions, ...frequencies } = longRotaryFrequencies(config, headWidth, where);
    const window = config.sliding_window ?? undefined;
    const layers = indices(config.num_hidden_layers);
    const [attention, mlp] = [(i: number) => `model.layers.${i}.self_attn`, (i: number) => `model.layers.${i}.mlp`];

    const modules = new ModuleList();
    modules.table("model.embed_tokens", vocab, d);
    for (const i of layers) {
      modules.linear({ path: `${attention(i)}.o_proj`, inFeatures: queryWidth, outFeatures: d });
      modules.linear({ path: `${attention(i)}.qkv_proj`, inFeatures: d, outFeatures: queryWidth + 2 * keyWidth });
      modules.linear({ path: `${mlp(i)}.gate_up_proj`, inFeatures: d, outFeatures: 2 * f });
      modules.linear({ path: `${mlp(i)}.down_proj`, inFeatures: f, outFeatures: d });
      modules.norm(`model.layers.${i}.input_layernorm`, d);
      modules.norm(`model.layers.${i}.post_attention_layernorm`, d);
    }
    modules.norm("model.norm", d);
    modules.head({ path: "lm_head", inFeatures: d, outFeatures: vocab }, { tiedTo: config.tie_word_embeddings ? "model.embed_tokens" : undefined });

    return {
      modelType: "phi3",
      vocabSize: vocab, hiddenSize: d, embeddingSize: d, layers: layers.length, heads, keyValueHeads, headWidth, maxPositions,
      tensors: modules.tensors, linears: modules.linears, tied: modules.tied,
      defaultTargets: { lowRank: ["qkv_proj"], rescaled: ["qkv_proj", "down_proj"], feedForward: ["down_proj"] },
      embedding: "model.embed_tokens.weight", head: { path: "lm_head", softCap: 0 }, checkpointPrefix: "model.",
      forward(pass) {
        const rotary = rotaryTables(pass.inputs.positions, frequencies);
        let x = pass.embed("model.embed_tokens"); // [C, N, D]
        for (const i of layers) {
          const h = pass.rmsNorm(`model.layers.${i}.input_layernorm`, x, epsilon);
          const [q = h, k = h, v = h] = g.split(pass.linear(`${attention(i)}.qkv_proj`, h), 2, [queryWidth, keyWidth, keyWidth]);
          const mixed = pass.attention(i, { q, k, v }, { heads, keyValueHeads, headWidth, rotary, window });
          x = pass.residual(x, i, "attention", pass.linear(`${attention(i)}.o_proj`, mixed));

          const h2 = pass.rmsNorm(`model.layers.${i}.post_attention_layernorm`, x, epsilon);
          const [gate = h2, up = h2] = g.split(pass.linear(`${mlp(i)}.gate_up_proj`, h2), 2, [f, f]);
          x = pass.residual(x, i, "feed_forward", pass.linear(`${mlp(i)}.down_proj`, g.mul(g.silu(gate), up)));
        }
        return pass.rmsNorm("model.norm", x, epsilon);
      },
    };
  },
};
