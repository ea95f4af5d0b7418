/** Gemma (Gemma Team 2024): scaled embeddings, RMS norm by 1 + weight, rotary positions, wide heads, gated GELU feed-forward. */
import { z } from "zod";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { attentionSizes, count, indices, parseConfig } from "./config.ts";
import { ModuleList } from "./modules.ts";
import { rotaryFields, rotaryFrequencies, rotaryTables } from "./rotary.ts";

/** Defaults as in transformers' GemmaConfig. */
const gemmaConfig = z.looseObject({
  vocab_size: count.default(256_000),
  hidden_size: count.default(3072),
  intermediate_size: count.default(24_576),
  num_hidden_layers: count.default(28),
  num_attention_heads: count.default(16),
  num_key_value_heads: count.default(16),
  head_dim: count.default(256),
  max_position_embeddings: count.default(8192),
  rms_norm_eps: z.number().positive().default(1e-6),
  tie_word_embeddings: z.boolean().default(true),
  // The first releases say `gelu` and mean its tanh approximation.
  hidden_act: z.literal(["gelu_pytorch_tanh", "gelu"]).default("gelu_pytorch_tanh"),
  hidden_activation: z.literal("gelu_pytorch_tanh").nullish(),
  attention_bias: z.boolean().default(false),
  use_bidirectional_attention: z.literal(false).nullish(),
  ...rotaryFields,
});

export const gemma: Architecture = {
  open(raw, where): ArchitectureModel {
    const config = parseConfig(gemmaConfig, raw, where);
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
      ], { joined: `${mlp(i)}.gate_up_proj` });
      modules.linear({ path: `${mlp(i)}.down_proj`, inFeatures: f, outFeatures: d });
      modules.norm(`model.layers.${i}.input_layernorm`, d);
      modules.norm(`model.layers.${i}.post_attention_layernorm`, d);
    }
    modules.norm("model.norm", d);
    modules.head({ path: "lm_head", inFeatures: d, outFeatures: vocab }, { tiedTo: config.tie_word_embeddings ? "model.embed_tokens" : undefined });

    return {
      modelType: "gemma",
      vocabSize: vocab, hiddenSize: d, embeddingSize: d, layers: layers.length, heads, keyValueHeads, headWidth,
      maxPositions: config.max_position_embeddings,
      tensors: modules.tensors, linears: modules.linears, tied: modules.tied,
      defaultTargets: { lowRank: ["q_proj", "v_proj"], rescaled: ["q_proj", "v_proj", "down_proj"], feedForward: ["down_proj"] },
      embedding: "model.embed_tokens.weight", embeddingScale: Math.sqrt(d), head: { path: "lm_head", softCap: 0 }, checkpointPrefix: "model.",
      forward(pass) {
        const rotary = rotaryTables(pass.inputs.positions, frequencies);
        const norm = (path: string, x: Value): Value => pass.rmsNorm(path, x, epsilon, { offset: 1 });
        let x = pass.embed("model.embed_tokens"); // [C, N, D]
        for (const i of layers) {
          const h = norm(`model.layers.${i}.input_layernorm`, x);
          const [q = h, k = h, v = h] = pass.linears([`${attention(i)}.q_proj`, `${attention(i)}.k_proj`, `${attention(i)}.v_proj`], h);
          const mixed = pass.attention(i, { q, k, v }, { heads, keyValueHeads, headWidth, rotary });
          x = pass.residual(x, i, "attention", pass.linear(`${attention(i)}.o_proj`, mixed));

          const h2 = norm(`model.layers.${i}.post_attention_layernorm`, x);
          const [gate = h2, up = h2] = pass.linears([`${mlp(i)}.gate_proj`, `${mlp(i)}.up_proj`], h2);
          x = pass.residual(x, i, "feed_forward", pass.linear(`${mlp(i)}.down_proj`, g.mul(g.gelu(gate, "tanh"), up)));
        }
        return norm("model.norm", x);
      },
    };
  },
};
