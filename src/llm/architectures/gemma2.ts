/**
 * Gemma 2 (Gemma Team 2024b): Gemma with a norm before and after each sublayer, soft caps on the scores of attention and on
 * the logits, and layers that look back through a window in turns with layers that look back over everything.
 */
import { z } from "zod";
import type { Value } from "../../engine/graph/value.ts";
import { activate, activationName } from "./activation.ts";
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { attentionSizes, count, indices, parseConfig } from "./config.ts";
import { addAttention, addGatedMlp, attentionStates, gatedMlp, layerWindows, wholeHeadRotary, windowFields } from "./decoder-layers.ts";
import { ModuleList } from "./modules.ts";
import { rotaryFields, rotaryTables } from "./rotary.ts";

/** Defaults as in transformers' Gemma2Config. */
const gemma2Config = z.looseObject({
  vocab_size: count.default(256_000),
  hidden_size: count.default(2304),
  intermediate_size: count.default(9216),
  num_hidden_layers: count.default(26),
  num_attention_heads: count.default(8),
  num_key_value_heads: count.default(4),
  head_dim: count.default(256),
  max_position_embeddings: count.default(8192),
  rms_norm_eps: z.number().positive().default(1e-6),
  tie_word_embeddings: z.boolean().default(true),
  hidden_activation: activationName.default("gelu_pytorch_tanh"),
  attention_bias: z.boolean().default(false),
  use_bidirectional_attention: z.literal(false).nullish(),
  query_pre_attn_scalar: z.number().positive().default(256),
  attn_logit_softcapping: z.number().positive().nullable().default(50),
  final_logit_softcapping: z.number().positive().nullable().default(30),
  ...windowFields,
  sliding_window: count.default(4096),
  ...rotaryFields,
});

export const gemma2: Architecture = {
  open(raw, where): ArchitectureModel {
    const config = parseConfig(gemma2Config, raw, where);
    const { vocab_size: vocab, hidden_size: d, intermediate_size: f, rms_norm_eps: epsilon, attention_bias: bias } = config;
    const sizes = { hiddenSize: d, ...attentionSizes(config, where) };
    const frequencies = wholeHeadRotary(config, sizes.headWidth, where);
    const windows = layerWindows(config, (i) => i % 2 === 0, where);
    const scores = { scale: 1 / Math.sqrt(config.query_pre_attn_scalar), softCap: config.attn_logit_softcapping ?? 0 };
    const layers = indices(config.num_hidden_layers);

    const modules = new ModuleList();
    modules.table("model.embed_tokens", vocab, d);
    for (const i of layers) {
      addAttention(modules, `model.layers.${i}.self_attn`, { sizes, bias: { inputs: bias, output: bias } });
      addGatedMlp(modules, `model.layers.${i}.mlp`, { hiddenSize: d, intermediateSize: f });
      modules.norm(`model.layers.${i}.input_layernorm`, d);
      modules.norm(`model.layers.${i}.post_attention_layernorm`, d);
      modules.norm(`model.layers.${i}.pre_feedforward_layernorm`, d);
      modules.norm(`model.layers.${i}.post_feedforward_layernorm`, d);
    }
    modules.norm("model.norm", d);
    modules.head({ path: "lm_head", inFeatures: d, outFeatures: vocab }, { tiedTo: config.tie_word_embeddings ? "model.embed_tokens" : undefined });

    return {
      modelType: "gemma2",
      vocabSize: vocab, embeddingSize: d, embeddingScale: Math.sqrt(d), layers: layers.length, ...sizes,
      maxPositions: config.max_position_embeddings,
      tensors: modules.tensors, linears: modules.linears, tied: modules.tied,
      defaultTargets: { lowRank: ["q_proj", "v_proj"], rescaled: ["q_proj", "v_proj", "down_proj"], feedForward: ["down_proj"] },
      embedding: "model.embed_tokens.weight", head: { path: "lm_head", softCap: config.final_logit_softcapping ?? 0 }, checkpointPrefix: "model.",
      forward(pass) {
        const rotary = rotaryTables(pass.inputs.positions, frequencies);
        const activation = (y: Value): Value => activate(config.hidden_activation, y);
        const norm = (path: string, y: Value): Value => pass.rmsNorm(path, y, epsilon, { offset: 1 });
        let x = pass.embed("model.embed_tokens"); // [C, N, D]
        for (const i of layers) {
          const h = norm(`model.layers.${i}.input_layernorm`, x);
          const mixed = pass.attention(i, attentionStates(pass, `model.layers.${i}.self_attn`, h), { ...sizes, ...scores, rotary, window: windows[i] });
          const attended = pass.linear(`model.layers.${i}.self_attn.o_proj`, mixed);
          x = pass.residual(x, i, "attention", norm(`model.layers.${i}.post_attention_layernorm`, attended));

          const h2 = norm(`model.layers.${i}.pre_feedforward_layernorm`, x);
          const fed = gatedMlp(pass, `model.layers.${i}.mlp`, h2, { activation });
          x = pass.residual(x, i, "feed_forward", norm(`model.layers.${i}.post_feedforward_layernorm`, fed));
        }
        return norm("model.norm", x);
      },
    };
  },
};
