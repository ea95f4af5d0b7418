/** GPT-2 (Radford et al. 2019): layer norm, learned positions, linear modules with transposed weights (Conv1D), GELU. */
import { z } from "zod";
import * as g from "../../engine/graph/operations.ts";
import { activate, activationName } from "./activation.ts";
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { count, headWidthOf, indices, parseConfig, withOwnNames } from "./config.ts";
import { ModuleList } from "./modules.ts";

/** Defaults as in transformers' GPT2Config. `reorder_and_upcast_attn` changes rounding alone and is not read. */
const gpt2Config = z.looseObject({
  vocab_size: count.default(50_257),
  n_positions: count.default(1024),
  n_embd: count.default(768),
  n_layer: count.default(12),
  n_head: count.default(12),
  n_inner: count.nullish(),
  activation_function: activationName.default("gelu_new"),
  layer_norm_epsilon: z.number().positive().default(1e-5),
  scale_attn_weights: z.boolean().default(true),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
  add_cross_attention: z.literal(false).default(false),
  tie_word_embeddings: z.boolean().default(true),
});
const OTHER_NAMES = { hidden_size: "n_embd", max_position_embeddings: "n_positions", num_attention_heads: "n_head", num_hidden_layers: "n_layer" };

export const gpt2: Architecture = {
  open(raw, where): ArchitectureModel {
    const config = parseConfig(gpt2Config, withOwnNames(raw, OTHER_NAMES), where);
    const { vocab_size: vocab, n_embd: d, n_head: heads, layer_norm_epsilon: epsilon } = config;
    const headWidth = headWidthOf(d, heads, `${where}: n_head`);
    const f = config.n_inner ?? 4 * d;
    const layers = indices(config.n_layer);
    const block = (i: number): string => `transformer.h.${i}`;
    const conv1d = { bias: true, layout: "in_out" } as const;

    const modules = new ModuleList();
    modules.table("transformer.wte", vocab, d);
    modules.table("transformer.wpe", config.n_positions, d);
    for (const i of layers) {
      modules.norm(`${block(i)}.ln_1`, d, { bias: true });
      modules.linear({ path: `${block(i)}.attn.c_attn`, inFeatures: d, outFeatures: 3 * d }, conv1d);
      modules.linear({ path: `${block(i)}.attn.c_proj`, inFeatures: d, outFeatures: d }, conv1d);
      modules.norm(`${block(i)}.ln_2`, d, { bias: true });
      modules.linear({ path: `${block(i)}.mlp.c_fc`, inFeatures: d, outFeatures: f }, conv1d);
      modules.linear({ path: `${block(i)}.mlp.c_proj`, inFeatures: f, outFeatures: d }, conv1d);
    }
    modules.norm("transformer.ln_f", d, { bias: true });
    modules.head({ path: "lm_head", inFeatures: d, outFeatures: vocab }, { tiedTo: config.tie_word_embeddings ? "transformer.wte" : undefined });

    const scaleOf = (layer: number): number => (config.scale_attn_weights ? 1 / Math.sqrt(headWidth) : 1) / (config.scale_attn_by_inverse_layer_idx ? layer + 1 : 1);
    return {
      modelType: "gpt2",
      vocabSize: vocab, hiddenSize: d, embeddingSize: d, layers: layers.length, heads, keyValueHeads: heads, headWidth,
      maxPositions: config.n_positions,
      tensors: modules.tensors, linears: modules.linears, tied: modules.tied,
      defaultTargets: { lowRank: ["c_attn"], rescaled: ["c_attn", "mlp.c_proj"], feedForward: ["mlp.c_proj"] },
      embedding: "transformer.wte.weight", head: { path: "lm_head", softCap: 0 }, checkpointPrefix: "transformer.",
      forward(pass) {
        let x = g.add(pass.embed("transformer.wte"), pass.lookUp("transformer.wpe", pass.inputs.positions)); // [C, N, D]
        for (const i of layers) {
          const h = pass.layerNorm(`${block(i)}.ln_1`, x, epsilon);
          const [q = h, k = h, v = h] = g.split(pass.linear(`${block(i)}.attn.c_attn`, h), 2, [d, d, d]);
          const mixed = pass.attention(i, { q, k, v }, { heads, keyValueHeads: heads, headWidth, scale: scaleOf(i) });
          x = pass.residual(x, i, "attention", pass.linear(`${block(i)}.attn.c_proj`, mixed));

          const inner = pass.linear(`${block(i)}.mlp.c_fc`, pass.layerNorm(`${block(i)}.ln_2`, x, epsilon));
          x = pass.residual(x, i, "feed_forward", pass.linear(`${block(i)}.mlp.c_proj`, activate(config.activation_function, inner)));
        }
        return pass.layerNorm("transformer.ln_f", x, epsilon);
      },
    };
  },
};
