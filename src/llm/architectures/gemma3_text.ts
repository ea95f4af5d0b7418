/**
 * Gemma 3, text alone (Gemma Team 2025): the norms of Gemma 2, norms of queries and keys in place of its soft cap on scores, and
 * layers that look back over a window, each sixth over everything, with rotary frequencies of their own.
 */
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { attentionSizes, count, indices, parseConfig } from "./config.ts";
import { layerSpans, layerTypes } from "./layer-types.ts";
import type { LayerSpan, LayerType } from "./layer-types.ts";
import { ModuleList } from "./modules.ts";
import { rotaryFrequencies, rotaryTables } from "./rotary.ts";
import type { RotaryFrequencies } from "./rotary.ts";

/** Norms of a layer: before and after its attention, before and after its feed-forward. */
const NORMS = ["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"] as const;

const rotarySettings = z.looseObject({}).nullish();

/** Defaults as in transformers' Gemma3TextConfig. */
const gemma3TextConfig = z.looseObject({
  vocab_size: count.default(262_208),
  hidden_size: count.default(2304),
  intermediate_size: count.default(9216),
  num_hidden_layers: count.default(26),
  num_attention_heads: count.default(8),
  num_key_value_heads: count.default(4),
  head_dim: count.default(256),
  max_position_embeddings: count.default(131_072),
  rms_norm_eps: z.number().positive().default(1e-6),
  tie_word_embeddings: z.boolean().default(true),
  hidden_activation: z.literal("gelu_pytorch_tanh").default("gelu_pytorch_tanh"),
  attention_bias: z.boolean().default(false),
  use_bidirectional_attention: z.literal(false).nullish(),
  query_pre_attn_scalar: z.number().positive().default(256),
  // transformers reads the first and does not use it.
  attn_logit_softcapping: z.null().default(null),
  final_logit_softcapping: z.number().positive().nullable().default(null),
  layer_types: layerTypes,
  sliding_window: count.nullable().default(4096),
  /** Without layer_types: each layer of this many looks back over everything. */
  sliding_window_pattern: count.default(6),
  _sliding_window_pattern: count.nullish(),
  rope_theta: z.number().positive().default(1_000_000),
  rope_local_base_freq: z.number().positive().default(10_000),
  // The old name `type` of `rope_type` has no effect in transformers 5.
  rope_scaling: z.looseObject({ rope_type: z.string() }).nullish(),
  rope_parameters: z.strictObject(
    { full_attention: rotarySettings, sliding_attention: rotarySettings },
    { error: "expected the settings of full_attention and of sliding_attention apart" },
  ).nullish(),
});
type Gemma3TextConfig = z.infer<typeof gemma3TextConfig>;

/** Frequencies of each kind of layer: `rope_scaling` of transformers 4 is that of layers without a window. */
function frequenciesOf(config: Gemma3TextConfig, headWidth: number, where: string): Readonly<Record<LayerType, RotaryFrequencies>> {
  const { max_position_embeddings, rope_theta, rope_local_base_freq, rope_scaling, rope_parameters } = config;
  const { full_attention: full, sliding_attention: sliding } = rope_parameters ?? {};
  const scaling = rope_scaling == null ? { rope_parameters: full } : { rope_scaling: { ...full, ...rope_scaling } };
  return {
    full_attention: rotaryFrequencies({ max_position_embeddings, rope_theta, ...scaling }, headWidth, where),
    sliding_attention: rotaryFrequencies({ max_position_embeddings, rope_theta: rope_local_base_freq, rope_parameters: sliding }, headWidth, where),
  };
}

/** The spans of the layers, by `layer_types` or the pattern. Throws FedtuneError("model") where it is unclear which layers have windows. */
function spansOf(config: Gemma3TextConfig, where: string): readonly LayerSpan[] {
  const { layer_types, sliding_window_pattern: pattern, _sliding_window_pattern: remembered } = config;
  // transformers writes it down and does not read it again.
  if (layer_types == null && remembered != null && remembered !== pattern) {
    throw new FedtuneError("model", { where: `${where}: _sliding_window_pattern`, expected: `layer_types beside it, or ${pattern} as sliding_window_pattern is`, got: `${remembered}` });
  }
  return layerSpans(config, where, (i) => ((i + 1) % pattern === 0 ? "full_attention" : "sliding_attention"));
}

export const gemma3Text: Architecture = {
  open(raw, where): ArchitectureModel {
    const config = parseConfig(gemma3TextConfig, raw, where);
    const { vocab_size: vocab, hidden_size: d, intermediate_size: f, rms_norm_eps: epsilon } = config;
    const { heads, keyValueHeads, headWidth } = attentionSizes(config, where);
    const [queryWidth, keyWidth] = [heads * headWidth, keyValueHeads * headWidth];
    const frequencies = frequenciesOf(config, headWidth, where);
    const spans = spansOf(config, where);
    const scale = 1 / Math.sqrt(config.query_pre_attn_scalar);
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
      modules.norm(`${attention(i)}.q_norm`, headWidth);
      modules.norm(`${attention(i)}.k_norm`, headWidth);
      for (const name of NORMS) modules.norm(`model.layers.${i}.${name}`, d);
    }
    modules.norm("model.norm", d);
    modules.head({ path: "lm_head", inFeatures: d, outFeatures: vocab }, { tiedTo: config.tie_word_embeddings ? "model.embed_tokens" : undefined });

    return {
      modelType: "gemma3_text",
      vocabSize: vocab, hiddenSize: d, embeddingSize: d, layers: layers.length, heads, keyValueHeads, headWidth,
      maxPositions: config.max_position_embeddings,
      tensors: modules.tensors, linears: modules.linears, tied: modules.tied,
      defaultTargets: { lowRank: ["q_proj", "v_proj"], rescaled: ["q_proj", "v_proj", "down_proj"], feedForward: ["down_proj"] },
      embedding: "model.embed_tokens.weight", embeddingScale: Math.sqrt(d), head: { path: "lm_head", softCap: config.final_logit_softcapping ?? 0 }, checkpointPrefix: "model.",
      forward(pass) {
        const rotary = { full_attention: rotaryTables(pass.inputs.positions, frequencies.full_attention), sliding_attention: rotaryTables(pass.inputs.positions, frequencies.sliding_attention) };
        const norm = (path: string, x: Value): Value => pass.rmsNorm(path, x, epsilon, { offset: 1 });
        const headNorm = (path: string, x: Value): Value => pass.headNorm(path, x, epsilon, { width: headWidth, offset: 1 });
        let x = pass.embed("model.embed_tokens"); // [C, N, D]
        for (const [i, { type, window }] of spans.entries()) {
          const layer = (name: (typeof NORMS)[number], y: Value): Value => norm(`model.layers.${i}.${name}`, y);
          const h = layer("input_layernorm", x);
          const [q = h, k = h, v = h] = pass.linears([`${attention(i)}.q_proj`, `${attention(i)}.k_proj`, `${attention(i)}.v_proj`], h);
          const states = { q: headNorm(`${attention(i)}.q_norm`, q), k: headNorm(`${attention(i)}.k_norm`, k), v };
          const mixed = pass.attention(i, states, { heads, keyValueHeads, headWidth, rotary: rotary[type], window, scale });
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
