/** Qwen3 (Yang et al. 2025): Llama's layers with a norm on each head of queries and keys; the upper layers may look back through a window. */
import { z } from "zod";
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { attentionSizes, count, indices, parseConfig } from "./config.ts";
import { addAttention, addGatedMlp, attentionStates, decoderFields, gatedMlp, layerWindows, wholeHeadRotary, windowFields } from "./decoder-layers.ts";
import { ModuleList } from "./modules.ts";
import { rotaryTables } from "./rotary.ts";

const qwen3Config = z.looseObject({
  ...decoderFields,
  num_key_value_heads: count.nullable().default(32),
  head_dim: count.default(128),
  max_position_embeddings: count.default(32_768),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  ...windowFields,
  use_sliding_window: z.boolean().default(false),
  sliding_window: count.nullable().default(4096),
  max_window_layers: z.int().default(28),
});

export const qwen3: Architecture = {
  open(raw, where): ArchitectureModel {
    const config = parseConfig(qwen3Config, raw, where);
    const { vocab_size: vocab, hidden_size: d, intermediate_size: f, rms_norm_eps: epsilon, attention_bias: bias } = config;
    const sizes = { hiddenSize: d, ...attentionSizes(config, where) };
    const frequencies = wholeHeadRotary(config, sizes.headWidth, where);
    const windows = layerWindows({ ...config, sliding_window: config.use_sliding_window ? config.sliding_window : null }, (i) => i >= config.max_window_layers, where);
    const layers = indices(config.num_hidden_layers);

    const modules = new ModuleList();
    modules.table("model.embed_tokens", vocab, d);
    for (const i of layers) {
      addAttention(modules, `model.layers.${i}.self_attn`, { sizes, bias: { inputs: bias, output: bias } });
      modules.norm(`model.layers.${i}.self_attn.q_norm`, sizes.headWidth);
      modules.norm(`model.layers.${i}.self_attn.k_norm`, sizes.headWidth);
      addGatedMlp(modules, `model.layers.${i}.mlp`, { hiddenSize: d, intermediateSize: f });
      modules.norm(`model.layers.${i}.input_layernorm`, d);
      modules.norm(`model.layers.${i}.post_attention_layernorm`, d);
    }
    modules.norm("model.norm", d);
    modules.head({ path: "lm_head", inFeatures: d, outFeatures: vocab }, { tiedTo: config.tie_word_embeddings ? "model.embed_tokens" : undefined });

    return {
      modelType: "qwen3",
      vocabSize: vocab, embeddingSize: d, layers: layers.length, ...sizes,
      maxPositions: config.max_position_embeddings,
      tensors: modules.tensors, linears: modules.linears, tied: modules.tied,
      defaultTargets: { lowRank: ["q_proj", "v_proj"], rescaled: ["q_proj", "v_proj", "down_proj"], feedForward: ["down_proj"] },
      embedding: "model.embed_tokens.weight", head: { path: "lm_head", softCap: 0 }, checkpointPrefix: "model.",
      forward(pass) {
        const rotary = rotaryTables(pass.inputs.positions, frequencies);
        const width = sizes.headWidth;
        let x = pass.embed("model.embed_tokens"); // [C, N, D]
        for (const i of layers) {
          const h = pass.rmsNorm(`model.layers.${i}.input_layernorm`, x, epsilon);
          const { q, k, v } = attentionStates(pass, `model.layers.${i}.self_attn`, h);
          const normed = { q: pass.headNorm(`model.layers.${i}.self_attn.q_norm`, q, epsilon, { width }), k: pass.headNorm(`model.layers.${i}.self_attn.k_norm`, k, epsilon, { width }), v };
          const mixed = pass.attention(i, normed, { ...sizes, rotary, window: windows[i] });
          x = pass.residual(x, i, "attention", pass.linear(`model.layers.${i}.self_attn.o_proj`, mixed));

          const h2 = pass.rmsNorm(`model.layers.${i}.post_attention_layernorm`, x, epsilon);
          x = pass.residual(x, i, "feed_forward", gatedMlp(pass, `model.layers.${i}.mlp`, h2));
        }
        return pass.rmsNorm("model.norm", x, epsilon);
      },
    };
  },
};
