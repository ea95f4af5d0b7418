/**
 * Gemma 3, text alone (Gemma Team 2025): the layers of Gemma 2 with norms of queries and keys in place of the soft cap of scores;
 * those that look back through a window, five of six, have rotary frequencies of their own.
 */
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import type { Value } from "../../engine/graph/value.ts";
import { activate, activationName } from "./activation.ts";
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { attentionSizes, count, indices, parseConfig } from "./config.ts";
import { addAttention, addGatedMlp, attentionStates, gatedMlp, layerWindows, wholeHeadRotary, windowFields } from "./decoder-layers.ts";
import { ModuleList } from "./modules.ts";
import { rotaryTables, type RotaryFrequencies } from "./rotary.ts";

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
  hidden_activation: activationName.default("gelu_pytorch_tanh"),
  attention_bias: z.boolean().default(false),
  use_bidirectional_attention: z.literal(false).nullish(),
  query_pre_attn_scalar: z.number().positive().default(256),
  // transformers has the field and does not apply it: whoever sets it expects what nobody computes.
  attn_logit_softcapping: z.null().default(null),
  final_logit_softcapping: z.number().positive().nullable().default(null),
  ...windowFields,
  sliding_window: count.default(4096),
  /** Without layer_types: each layer of this many looks back over everything. */
  sliding_window_pattern: count.default(6),
  _sliding_window_pattern: count.nullish(),
  rope_theta: z.number().positive().default(1_000_000),
  rope_local_base_freq: z.number().positive().default(10_000),
  partial_rotary_factor: z.literal(1).nullish(),
  // transformers 5 does not see a scaling under its old name `type`.
  rope_scaling: z.looseObject({ rope_type: z.string() }).nullish(),
  rope_parameters: z.strictObject(
    { full_attention: rotarySettings, sliding_attention: rotarySettings },
    { error: "expected the settings of full_attention and of sliding_attention apart" },
  ).nullish(),
});
type Gemma3TextConfig = z.infer<typeof gemma3TextConfig>;

/** Frequencies of the layers without and with a window; `rope_scaling` of transformers 4 is for those without. */
function rotaryOf({ max_position_embeddings, rope_theta, rope_local_base_freq, rope_scaling, rope_parameters }: Gemma3TextConfig, headWidth: number, where: string): { readonly whole: RotaryFrequencies; readonly windowed: RotaryFrequencies } {
  const { full_attention: full, sliding_attention: sliding } = rope_parameters ?? {};
  const scaling = rope_scaling == null ? { rope_parameters: full } : { rope_scaling: { ...full, ...rope_scaling } };
  return {
    whole: wholeHeadRotary({ max_position_embeddings, rope_theta, ...scaling }, headWidth, where),
    windowed: wholeHeadRotary({ max_position_embeddings, rope_theta: rope_local_base_freq, rope_parameters: sliding }, headWidth, where),
  };
}

/** The layers' windows, by `layer_types` or the pattern. Throws FedtuneError("model") where it is unclear which layers have one. */
function windowsOf(config: Gemma3TextConfig, where: string): readonly (number | undefined)[] {
  const { layer_types, sliding_window_pattern: pattern, _sliding_window_pattern: remembered } = config;
  // transformers writes it down and does not read it again.
  if (layer_types == null && remembered != null && remembered !== pattern) {
    throw new FedtuneError("model", { where: `${where}: _sliding_window_pattern`, expected: `layer_types beside it, or ${pattern} as sliding_window_pattern is`, got: `${remembered}` });
  }
  return layerWindows(config, (i) => (i + 1) % pattern !== 0, where);
}

export const gemma3Text: Architecture = {
  open(raw, where): ArchitectureModel {
    const config = parseConfig(gemma3TextConfig, raw, where);
    const { vocab_size: vocab, hidden_size: d, intermediate_size: f, rms_norm_eps: epsilon, attention_bias: bias } = config;
    const sizes = { hiddenSize: d, ...attentionSizes(config, where) };
    const frequencies = rotaryOf(config, sizes.headWidth, where);
    const windows = windowsOf(config, where);
    const scale = 1 / Math.sqrt(config.query_pre_attn_scalar);
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
      modules.norm(`model.layers.${i}.pre_feedforward_layernorm`, d);
      modules.norm(`model.layers.${i}.post_feedforward_layernorm`, d);
    }
    modules.norm("model.norm", d);
    modules.head({ path: "lm_head", inFeatures: d, outFeatures: vocab }, { tiedTo: config.tie_word_embeddings ? "model.embed_tokens" : undefined });

    return {
      modelType: "gemma3_text",
      vocabSize: vocab, embeddingSize: d, embeddingScale: Math.sqrt(d), layers: layers.length, ...sizes,
      maxPositions: config.max_position_embeddings,
      tensors: modules.tensors, linears: modules.linears, tied: modules.tied,
      defaultTargets: { lowRank: ["q_proj", "v_proj"], rescaled: ["q_proj", "v_proj", "down_proj"], feedForward: ["down_proj"] },
      embedding: "model.embed_tokens.weight", head: { path: "lm_head", softCap: config.final_logit_softcapping ?? 0 }, checkpointPrefix: "model.",
      forward(pass) {
        const [whole, windowed] = [rotaryTables(pass.inputs.positions, frequencies.whole), rotaryTables(pass.inputs.positions, frequencies.windowed)];
        const headNorm = (path: string, y: Value): Value => pass.headNorm(path, y, epsilon, { width: sizes.headWidth, offset: 1 });
        const activation = (y: Value): Value => activate(config.hidden_activation, y);
        const norm = (path: string, y: Value): Value => pass.rmsNorm(path, y, epsilon, { offset: 1 });
        let x = pass.embed("model.embed_tokens"); // [C, N, D]
        for (const i of layers) {
          const h = norm(`model.layers.${i}.input_layernorm`, x);
          const { q, k, v } = attentionStates(pass, `model.layers.${i}.self_attn`, h);
          const normed = { q: headNorm(`model.layers.${i}.self_attn.q_norm`, q), k: headNorm(`model.layers.${i}.self_attn.k_norm`, k), v };
          const window = windows[i];
          const mixed = pass.attention(i, normed, { ...sizes, rotary: window === undefined ? whole : windowed, window, scale });
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
