/** BLOOM (BigScience 2022): scores that fall with distance (ALiBi) in place of positions, normed embeddings, q, k, v in one module. */
import { z } from "zod";
import { activate } from "./activation.ts";
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { splitByHead } from "./attention.ts";
import { count, headWidthOf, indices, parseConfig, withOwnNames } from "./config.ts";
import { ModuleList } from "./modules.ts";

/** Defaults as in transformers' BloomConfig. `slow_but_exact` and `pretraining_tp` change rounding alone and are not read. */
const bloomConfig = z.looseObject({
  vocab_size: count.default(250_880),
  hidden_size: count.default(64),
  n_layer: count.default(2),
  n_head: count.default(8),
  /** Length of the texts in training, as the first releases say; ALiBi has no longest position. */
  seq_length: count.default(2048),
  layer_norm_epsilon: z.number().positive().default(1e-5),
  apply_residual_connection_post_layernorm: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(true),
});
const OTHER_NAMES = { n_embed: "hidden_size", num_hidden_layers: "n_layer", num_attention_heads: "n_head" };

/**
 * Slope of each head (Press et al. 2022, section 3 and appendix A): a geometric sequence from 2^(−8/n), and for the heads
 * beyond the largest power of two n every other slope of the sequence for 2n.
 */
export function alibiSlopes(heads: number): readonly number[] {
  const n = 2 ** Math.floor(Math.log2(heads));
  const sequence = indices(n).map((i) => 2 ** ((-8 * (i + 1)) / n));
  return [...sequence, ...indices(heads - n).map((i) => 2 ** ((-4 * (2 * i + 1)) / n))];
}

export const bloom: Architecture = {
  open(raw, where): ArchitectureModel {
    const config = parseConfig(bloomConfig, withOwnNames(raw, OTHER_NAMES), where);
    const { vocab_size: vocab, hidden_size: d, n_head: heads, layer_norm_epsilon: epsilon, apply_residual_connection_post_layernorm: addsNormed } = config;
    const headWidth = headWidthOf(d, heads, `${where}: n_head`);
    const slopes = alibiSlopes(heads);
    const layers = indices(config.n_layer);
    const block = (i: number): string => `transformer.h.${i}`;

    const modules = new ModuleList();
    modules.table("transformer.word_embeddings", vocab, d);
    modules.norm("transformer.word_embeddings_layernorm", d, { bias: true });
    for (const i of layers) {
      modules.norm(`${block(i)}.input_layernorm`, d, { bias: true });
      modules.linear({ path: `${block(i)}.self_attention.query_key_value`, inFeatures: d, outFeatures: 3 * d }, { bias: true });
      modules.linear({ path: `${block(i)}.self_attention.dense`, inFeatures: d, outFeatures: d }, { bias: true });
      modules.norm(`${block(i)}.post_attention_layernorm`, d, { bias: true });
      modules.linear({ path: `${block(i)}.mlp.dense_h_to_4h`, inFeatures: d, outFeatures: 4 * d }, { bias: true });
      modules.linear({ path: `${block(i)}.mlp.dense_4h_to_h`, inFeatures: 4 * d, outFeatures: d }, { bias: true });
    }
    modules.norm("transformer.ln_f", d, { bias: true });
    modules.head({ path: "lm_head", inFeatures: d, outFeatures: vocab }, { tiedTo: config.tie_word_embeddings ? "transformer.word_embeddings" : undefined });

    return {
      modelType: "bloom",
      vocabSize: vocab, hiddenSize: d, embeddingSize: d, layers: layers.length, heads, keyValueHeads: heads, headWidth,
      maxPositions: config.seq_length,
      tensors: modules.tensors, linears: modules.linears, tied: modules.tied,
      defaultTargets: { lowRank: ["query_key_value"], rescaled: ["query_key_value", "mlp.dense_4h_to_h"], feedForward: ["mlp.dense_4h_to_h"] },
      embedding: "transformer.word_embeddings.weight", head: { path: "lm_head", softCap: 0 }, checkpointPrefix: "transformer.",
      forward(pass) {
        let x = pass.layerNorm("transformer.word_embeddings_layernorm", pass.embed("transformer.word_embeddings"), epsilon); // [C, N, D]
        for (const i of layers) {
          const h = pass.layerNorm(`${block(i)}.input_layernorm`, x, epsilon);
          const states = splitByHead(pass.linear(`${block(i)}.self_attention.query_key_value`, h), heads, headWidth);
          const mixed = pass.attention(i, states, { heads, keyValueHeads: heads, headWidth, slopes });
          x = pass.residual(addsNormed ? h : x, i, "attention", pass.linear(`${block(i)}.self_attention.dense`, mixed));

          const h2 = pass.layerNorm(`${block(i)}.post_attention_layernorm`, x, epsilon);
          const inner = pass.linear(`${block(i)}.mlp.dense_h_to_4h`, h2);
          x = pass.residual(addsNormed ? h2 : x, i, "feed_forward", pass.linear(`${block(i)}.mlp.dense_4h_to_h`, activate("gelu_pytorch_tanh", inner)));
        }
        return pass.layerNorm("transformer.ln_f", x, epsilon);
      },
    };
  },
};
