/** GPT-NeoX (Black et al. 2022) and Pythia: layer norm, rotary positions on a part of each head, attention and feed-forward side by side. */
import { z } from "zod";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import { activate, activationName } from "./activation.ts";
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { splitByHead } from "./attention.ts";
import { count, headWidthOf, indices, parseConfig } from "./config.ts";
import { ModuleList } from "./modules.ts";
import { rotaryFields, rotaryFrequencies, rotaryTables } from "./rotary.ts";

/** Defaults as in transformers' GPTNeoXConfig. */
const gptNeoxConfig = z.looseObject({
  vocab_size: count.default(50_432),
  hidden_size: count.default(6144),
  num_hidden_layers: count.default(44),
  num_attention_heads: count.default(64),
  intermediate_size: count.default(24_576),
  hidden_act: activationName.default("gelu"),
  max_position_embeddings: count.default(2048),
  layer_norm_eps: z.number().positive().default(1e-5),
  use_parallel_residual: z.boolean().default(true),
  attention_bias: z.boolean().default(true),
  tie_word_embeddings: z.boolean().default(false),
  ...rotaryFields,
  /** This architecture's names for what `rope_parameters` now holds; those that others use beside them are not read. */
  rotary_pct: z.number().positive().max(1).default(0.25),
  rotary_emb_base: z.number().positive().default(10_000),
});

export const gptNeox: Architecture = {
  open(raw, where): ArchitectureModel {
    const config = parseConfig(gptNeoxConfig, raw, where);
    const { vocab_size: vocab, hidden_size: d, num_attention_heads: heads, intermediate_size: f, layer_norm_eps: epsilon } = config;
    const headWidth = headWidthOf(d, heads, `${where}: num_attention_heads`);
    const frequencies = rotaryFrequencies({ ...config, partial_rotary_factor: config.rotary_pct, rope_theta: config.rotary_emb_base }, headWidth, where);
    const layers = indices(config.num_hidden_layers);
    const block = (i: number): string => `gpt_neox.layers.${i}`;
    const bias = config.attention_bias;

    const modules = new ModuleList();
    modules.table("gpt_neox.embed_in", vocab, d);
    for (const i of layers) {
      modules.norm(`${block(i)}.input_layernorm`, d, { bias: true });
      modules.norm(`${block(i)}.post_attention_layernorm`, d, { bias: true });
      modules.linear({ path: `${block(i)}.attention.query_key_value`, inFeatures: d, outFeatures: 3 * d }, { bias });
      modules.linear({ path: `${block(i)}.attention.dense`, inFeatures: d, outFeatures: d }, { bias });
      modules.linear({ path: `${block(i)}.mlp.dense_h_to_4h`, inFeatures: d, outFeatures: f }, { bias: true });
      modules.linear({ path: `${block(i)}.mlp.dense_4h_to_h`, inFeatures: f, outFeatures: d }, { bias: true });
    }
    modules.norm("gpt_neox.final_layer_norm", d, { bias: true });
    modules.head({ path: "lm_head", inFeatures: d, outFeatures: vocab }, { tiedTo: config.tie_word_embeddings ? "gpt_neox.embed_in" : undefined });

    return {
      modelType: "gpt_neox",
      vocabSize: vocab, hiddenSize: d, embeddingSize: d, layers: layers.length, heads, keyValueHeads: heads, headWidth,
      maxPositions: config.max_position_embeddings,
      tensors: modules.tensors, linears: modules.linears, tied: modules.tied,
      defaultTargets: { lowRank: ["query_key_value"], rescaled: ["query_key_value", "dense_4h_to_h"], feedForward: ["dense_4h_to_h"] },
      embedding: "gpt_neox.embed_in.weight", head: { path: "lm_head", softCap: 0 }, checkpointPrefix: "gpt_neox.",
      // transformers 5 calls the module lm_head, and its files what they always called it.
      checkpointNames: new Map([["lm_head.weight", "embed_out.weight"]]),
      forward(pass) {
        const rotary = rotaryTables(pass.inputs.positions, frequencies);
        const attend = (i: number, x: Value): Value => {
          const h = pass.layerNorm(`${block(i)}.input_layernorm`, x, epsilon);
          const states = splitByHead(pass.linear(`${block(i)}.attention.query_key_value`, h), heads, headWidth);
          const mixed = pass.attention(i, states, { heads, keyValueHeads: heads, headWidth, rotary });
          return pass.sublayer(i, "attention", pass.linear(`${block(i)}.attention.dense`, mixed));
        };
        const feedForward = (i: number, x: Value): Value => {
          const inner = pass.linear(`${block(i)}.mlp.dense_h_to_4h`, pass.layerNorm(`${block(i)}.post_attention_layernorm`, x, epsilon));
          return pass.sublayer(i, "feed_forward", pass.linear(`${block(i)}.mlp.dense_4h_to_h`, activate(config.hidden_act, inner)));
        };
        let x = pass.embed("gpt_neox.embed_in"); // [C, N, D]
        for (const i of layers) {
          const attended = g.add(x, attend(i, x));
          x = g.add(attended, feedForward(i, config.use_parallel_residual ? x : attended));
        }
        return pass.layerNorm("gpt_neox.final_layer_norm", x, epsilon);
      },
    };
  },
};
