/** Gemma (Gemma Team 2024): scaled embeddings, RMS norms by 1 + weight, rotary positions, wide heads, gated GELU feed-forward. */
import { z } from "zod";
import type { Value } from "../../engine/graph/value.ts";
import { activate, activationName } from "./activation.ts";
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { attentionSizes, count, indices, parseConfig } from "./config.ts";
import { addAttention, addGatedMlp, attentionStates, gatedMlp, wholeHeadRotary } from "./decoder-layers.ts";
import { ModuleList } from "./modules.ts";
import { rotaryFields, rotaryTables } from "./rotary.ts";

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
  // The first releases say `gelu` and mean its tanh approximation; some say what they mean in hidden_activation.
  hidden_act: activationName.default("gelu_pytorch_tanh").transform((name) => (name === "gelu" ? "gelu_pytorch_tanh" : name)),
  hidden_activation: z.literal("gelu_pytorch_tanh").nullish(),
  attention_bias: z.boolean().default(false),
  use_bidirectional_attention: z.literal(false).nullish(),
  ...rotaryFields,
});

export const gemma: Architecture = {
  open(raw, where): ArchitectureModel {
    const config = parseConfig(gemmaConfig, raw, where);
    const { vocab_size: vocab, hidden_size: d, intermediate_size: f, rms_norm_eps: epsilon, attention_bias: bias } = config;
    const sizes = { hiddenSize: d, ...attentionSizes(config, where) };
    const frequencies = wholeHeadRotary(config, sizes.headWidth, where);
    const layers = indices(config.num_hidden_layers);

    const modules = new ModuleList();
    modules.table("model.embed_tokens", vocab, d);
    for (const i of layers) {
      addAttention(modules, `model.layers.${i}.self_attn`, { sizes, bias: { inputs: bias, output: bias } });
      addGatedMlp(modules, `model.layers.${i}.mlp`, { hiddenSize: d, intermediateSize: f });
      modules.norm(`model.layers.${i}.input_layernorm`, d);
      modules.norm(`model.layers.${i}.post_attention_layernorm`, d);
    }
    modules.norm("model.norm", d);
    modules.head({ path: "lm_head", inFeatures: d, outFeatures: vocab }, { tiedTo: config.tie_word_embeddings ? "model.embed_tokens" : undefined });

    return {
      modelType: "gemma",
      vocabSize: vocab, embeddingSize: d, embeddingScale: Math.sqrt(d), layers: layers.length, ...sizes,
      maxPositions: config.max_position_embeddings,
      tensors: modules.tensors, linears: modules.linears, tied: modules.tied,
      defaultTargets: { lowRank: ["q_proj", "v_proj"], rescaled: ["q_proj", "v_proj", "down_proj"], feedForward: ["down_proj"] },
      embedding: "model.embed_tokens.weight", head: { path: "lm_head", softCap: 0 }, checkpointPrefix: "model.",
      forward(pass) {
        const rotary = rotaryTables(pass.inputs.positions, frequencies);
        const activation = (y: Value): Value => activate(config.hidden_act, y);
        const norm = (path: string, y: Value): Value => pass.rmsNorm(path, y, epsilon, { offset: 1 });
        let x = pass.embed("model.embed_tokens"); // [C, N, D]
        for (const i of layers) {
          const h = norm(`model.layers.${i}.input_layernorm`, x);
          const mixed = pass.attention(i, attentionStates(pass, `model.layers.${i}.self_attn`, h), { ...sizes, rotary });
          x = pass.residual(x, i, "attention", pass.linear(`model.layers.${i}.self_attn.o_proj`, mixed));

          const h2 = norm(`model.layers.${i}.post_attention_layernorm`, x);
          x = pass.residual(x, i, "feed_forward", gatedMlp(pass, `model.layers.${i}.mlp`, h2, { activation }));
        }
        return norm("model.norm", x);
      },
    };
  },
};
