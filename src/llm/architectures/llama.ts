/** Llama (Touvron et al. 2023): RMS norm, rotary positions, grouped-query attention, gated SiLU feed-forward. */
import { z } from "zod";
import * as g from "../../engine/graph/operations.ts";
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { attentionSizes, count, indices, parseConfig } from "./config.ts";
import { ModuleList } from "./modules.ts";
import { rotaryFields, rotaryFrequencies, rotaryTables } from "./rotary.ts";

const llamaConfig = z.looseObject({
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  max_position_embeddings: count.default(2048),
  rms_norm_eps: z.number().positive().default(1e-6),
  tie_word_embeddings: z.boolean().default(false),
  hidden_act: z.literal("silu").default("silu"),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  ...rotaryFields,
});

export const llama: Architecture = {
  open(raw, where): ArchitectureModel {
    const config = parseConfig(llamaConfig, raw, where);
    const { vocab_size: vocab, hidden_size: d, intermediate_size: f, rms_norm_eps: epsilon } = config;
    const { heads, keyValueHeads, headWidth } = attentionSizes(config, where);
    const [queryWidth, keyWidth] = [heads * headWidth, keyValueHeads * headWidth];
    const frequencies = rotaryFrequencies(config, headWidth, where);
    const layers = indices(config.num_hidden_layers);
    const [attention, mlp] = [(i: number) => `model.layers.${i}.self_attn`, (i: number) => `model.layers.${i}.mlp`];

    const modules = new ModuleList();
    modules.table("model.embed_tokens", vocab, d);
    for (const i of layers) {
      modules.linear([
        { path: `${attention(i)}.q_proj`, inFeatures: d, outFeatures: queryWidth },
        { path: `${attention(i)}.k_proj`, inFeatures: d, outFeatures: keyWidth },
        { path: `${attention(i)}.v_proj`, inFeatures: d, outFeatures: keyWidth },
      ], { joined: `${attention(i)}.qkv_proj`, bias: config.attention_bias });
      modules.linear({ path: `${attention(i)}.o_proj`, inFeatures: queryWidth, outFeatures: d }, { bias: config.attention_bias });
      modules.linear([
        { path: `${mlp(i)}.gate_proj`, inFeatures: d, outFeatures: f },
        { path: `${mlp(i)}.up_proj`, inFeatures: d, outFeatures: f },
      ], { joined: `${mlp(i)}.gate_up_proj`, bias: config.mlp_bias });
      modules.linear({ path: `${mlp(i)}.down_proj`, inFeatures: f, outFeatures: d }, { bias: config.mlp_bias });
      modules.norm(`model.layers.${i}.input_layernorm`, d);
      modules.norm(`model.layers.${i}.post_attention_layernorm`, d);
    }
    modules.norm("model.norm", d);
    modules.head({ path: "lm_head", inFeatures: d, outFeatures: vocab }, { tiedTo: config.tie_word_embeddings ? "model.embed_tokens" : undefined });

    return {
      modelType: "llama",
      vocabSize: vocab, hiddenSize: d, embeddingSize: d, layers: layers.length, heads, keyValueHeads, headWidth,
      maxPositions: config.max_position_embeddings,
      tensors: modules.tensors, linears: modules.linears, tied: modules.tied,
      defaultTargets: { lowRank: ["q_proj", "v_proj"], rescaled: ["k_proj", "v_proj", "down_proj"], feedForward: ["down_proj"] },
      embedding: "model.embed_tokens.weight", head: { path: "lm_head", softCap: 0 }, checkpointPrefix: "model.",
      forward(pass) {
        const rotary = rotaryTables(pass.inputs.positions, frequencies);
        let x = pass.embed("model.embed_tokens"); // [C, N, D]
        for (const i of layers) {
          const h = pass.rmsNorm(`model.layers.${i}.input_layernorm`, x, epsilon);
          const [q = h, k = h, v = h] = pass.linears([`${attention(i)}.q_proj`, `${attention(i)}.k_proj`, `${attention(i)}.v_proj`], h);
          const mixed = pass.attention(i, { q, k, v }, { heads, keyValueHeads, headWidth, rotary });
          x = pass.residual(x, i, "attention", pass.linear(`${attention(i)}.o_proj`, mixed));

          const h2 = pass.rmsNorm(`model.layers.${i}.post_attention_layernorm`, x, epsilon);
          const [gate = h2, up = h2] = pass.linears([`${mlp(i)}.gate_proj`, `${mlp(i)}.up_proj`], h2);
          x = pass.residual(x, i, "feed_forward", pass.linear(`${mlp(i)}.down_proj`, g.mul(g.silu(gate), up)));
        }
        return pass.rmsNorm("model.norm", x, epsilon);
      },
    };
  },
};
