/** Llama (Touvron et al. 2023): RMS norm, rotary positions, grouped-query attention, gated SiLU feed-forward. */
import { z } from "zod";
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { attentionSizes, count, indices, parseConfig } from "./config.ts";
import { addAttention, addGatedMlp, attentionStates, decoderFields, gatedMlp, wholeHeadRotary } from "./decoder-layers.ts";
import { ModuleList } from "./modules.ts";
import { rotaryTables } from "./rotary.ts";

const llamaConfig = z.looseObject({
  ...decoderFields,
  num_key_value_heads: count.nullish(),
  max_position_embeddings: count.default(2048),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
});

export const llama: Architecture = {
  open(raw, where): ArchitectureModel {
    const config = parseConfig(llamaConfig, raw, where);
    const { vocab_size: vocab, hidden_size: d, intermediate_size: f, rms_norm_eps: epsilon, attention_bias: bias } = config;
    const sizes = { hiddenSize: d, ...attentionSizes(config, where) };
    const frequencies = wholeHeadRotary(config, sizes.headWidth, where);
    const layers = indices(config.num_hidden_layers);

    const modules = new ModuleList();
    modules.table("model.embed_tokens", vocab, d);
    for (const i of layers) {
      addAttention(modules, `model.layers.${i}.self_attn`, { sizes, bias: { inputs: bias, output: bias } });
      addGatedMlp(modules, `model.layers.${i}.mlp`, { hiddenSize: d, intermediateSize: f, bias: config.mlp_bias });
      modules.norm(`model.layers.${i}.input_layernorm`, d);
      modules.norm(`model.layers.${i}.post_attention_layernorm`, d);
    }
    modules.norm("model.norm", d);
    modules.head({ path: "lm_head", inFeatures: d, outFeatures: vocab }, { tiedTo: config.tie_word_embeddings ? "model.embed_tokens" : undefined });

    return {
      modelType: "llama",
      vocabSize: vocab, embeddingSize: d, layers: layers.length, ...sizes,
      maxPositions: config.max_position_embeddings,
      tensors: modules.tensors, linears: modules.linears, tied: modules.tied,
      defaultTargets: { lowRank: ["q_proj", "v_proj"], rescaled: ["k_proj", "v_proj", "down_proj"], feedForward: ["down_proj"] },
      embedding: "model.embed_tokens.weight", head: { path: "lm_head", softCap: 0 }, checkpointPrefix: "model.",
      forward(pass) {
        const rotary = rotaryTables(pass.inputs.positions, frequencies);
        let x = pass.embed("model.embed_tokens"); // [C, N, D]
        for (const i of layers) {
          const h = pass.rmsNorm(`model.layers.${i}.input_layernorm`, x, epsilon);
          const mixed = pass.attention(i, attentionStates(pass, `model.layers.${i}.self_attn`, h), { ...sizes, rotary });
          x = pass.residual(x, i, "attention", pass.linear(`model.layers.${i}.self_attn.o_proj`, mixed));

          const h2 = pass.rmsNorm(`model.layers.${i}.post_attention_layernorm`, x, epsilon);
          x = pass.residual(x, i, "feed_forward", gatedMlp(pass, `model.layers.${i}.mlp`, h2));
        }
        return pass.rmsNorm("model.norm", x, epsilon);
      },
    };
  },
};
