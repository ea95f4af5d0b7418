/**
 * Gemma 2 (Gemma Team 2024b): Gemma with a norm before and after each sublayer, soft caps on the scores of attention and on
 * the logits, and layers that look back over a window in turns with layers that look back over everything.
 */
import { z } from "zod";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { attentionSizes, count, indices, parseConfig } from "./config.ts";
import { layerSpans, layerTypes } from "./layer-types.ts";
import { ModuleList } from "./modules.ts";
import { rotaryFields, rotaryFrequencies, rotaryTables } from "./rotary.ts";

/** Norms of a layer: before and after its attention, before and after its feed-forward. */
const NORMS = ["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"] as const;

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
  hidden_activation: z.literal("gelu_pytorch_tanh").default("gelu_pytorch_tanh"),
  attention_bias: z.boolean().default(false),
  use_bidirectional_attention: z.literal(false).nullish(),
  query_pre_attn_scalar: z.number().positive().default(256),
  attn_logit_softcapping: z.number().positive().nullable().default(50),
  final_logit_softcapping: z.number().positive().nullable().default(30),
  layer_types: layerTypes,
  sliding_window: count.nullable().default(4096),
  ...rotaryFields,
});

export const gemma2: Architecture = {
  open(raw, where): ArchitectureModel {
    const config = parseConfig(gemma2Config, raw, where);
    const { vocab_size: vocab, hidden_size: d, intermediate_size: f, rms_norm_eps: epsilon } = config;
    const { heads, keyValueHeads, headWidth } = attentionSizes(config, where);
    const [queryWidth, keyWidth] = [heads * headWidth, keyValueHeads * headWidth];
    const frequencies = rotaryFrequencies(config, headWidth, where);
    const spans = layerSpans(config, where, (i) => (i % 2 === 0 ? "sliding_attention" : "full_attention"));
    const scores = { scale: 1 / Math.sqrt(config.query_pre_attn_scalar), softCap: config.attn_logit_softcapping ?? 0 };
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
      for (const name of NORMS) modules.norm(`model.layers.${i}.${name}`, d);
    }
    modules.norm("model.norm", d);
    modules.head({ path: "lm_head", inFeatures: d, outFeatures: vocab }, { tiedTo: config.tie_word_embeddings ? "model.embed_tokens" : undefined });

    return {
      modelType: "gemma2",
      vocabSize: vocab, hiddenSize: d, embeddingSize: d, layers: layers.length, heads, keyValueHeads, headWidth,
      maxPositions: config.max_position_embeddings,
      tensors: modules.tensors, linears: modules.linears, tied: modules.tied,
      defaultTargets: { lowRank: ["q_proj", "v_proj"], rescaled: ["q_proj", "v_proj", "down_proj"], feedForward: ["down_proj"] },
      embedding: "model.embed_tokens.weight", embeddingScale: Math.sqrt(d), head: { path: "lm_head", softCap: config.final_logit_softcapping ?? 0 }, checkpointPrefix: "model.",
      forward(pass) {
        const rotary = rotaryTables(pass.inputs.positions, frequencies);
        const norm = (path: string, x: Value): Value => pass.rmsNorm(path, x, epsilon, { offset: 1 });
        let x = pass.embed("model.embed_tokens"); // [C, N, D]
        for (const [i, { window }] of spans.entries()) {
          const layer = (name: (typeof NORMS)[number], y: Value): Value => norm(`model.layers.${i}.${name}`, y);
          const h = layer("input_layernorm", x);
          const [q = h, k = h, v = h] = pass.linears([`${attention(i)}.q_proj`, `${attention(i)}.k_proj`, `${attention(i)}.v_proj`], h);
          const mixed = pass.attention(i, { q, k, v }, { heads, keyValueHeads, headWidth, rotary, window, ...scores });
          x = pass.residual(x, i, "attention", layer("post_attention_layernorm", pass.linear(`${attention(i)}.o_proj`, mixed)));

          const h2 = layer("pre_feedforward_layernorm", x);
          const [gate = h2, up = h2] = pass.linears([`${mlp(i)}.gate_proj`, `${mlp(i)}.up_proj`], h2);
          const fed = pass.linear(`${mlp(i)}.down_proj`, g.mul(g.gelu(gate, "tanh"), up));
          x = pass.residual(x, i, "feed_forward", layer("post_feedforward_layernorm", fed));
        }
        return norm("model.norm", x);
      },
    };
  },
};
