/** SmolLM3 (Hugging Face 2025): Llama's layers, of which every fourth leaves its queries and keys unrotated (Yang et al. 2025, "Rope to Nope"). */
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { attentionSizes, count, indices, parseConfig } from "./config.ts";
import { addAttention, addGatedMlp, attentionStates, decoderFields, gatedMlp, layerWindows, wholeHeadRotary, windowFields } from "./decoder-layers.ts";
import { ModuleList } from "./modules.ts";
import { rotaryTables } from "./rotary.ts";

const smollm3Config = z.looseObject({
  ...decoderFields,
  num_key_value_heads: count.nullable().default(4),
  max_position_embeddings: count.default(32_768),
  rope_theta: z.number().positive().default(2_000_000),
  tie_word_embeddings: z.boolean().default(true),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  ...windowFields,
  use_sliding_window: z.boolean().default(false),
  no_rope_layers: z.array(z.literal([0, 1])).nullish(),
  no_rope_layer_interval: count.default(4),
});

/** Whether each layer rotates: in `no_rope_layers` 1 means that it does. */
function rotatingLayers({ num_hidden_layers: layers, no_rope_layers: given, no_rope_layer_interval: interval }: z.infer<typeof smollm3Config>, where: string): readonly boolean[] {
  if (given == null) return Array.from({ length: layers }, (_, i) => (i + 1) % interval !== 0);
  if (given.length >= layers) return given.map((rotates) => rotates === 1);
  throw new FedtuneError("model", { where: `${where}: no_rope_layers`, expected: `an entry for each of ${layers} layers`, got: `${given.length} entries` });
}

export const smollm3: Architecture = {
  open(raw, where): ArchitectureModel {
    const config = parseConfig(smollm3Config, raw, where);
    const { vocab_size: vocab, hidden_size: d, intermediate_size: f, rms_norm_eps: epsilon, attention_bias: bias } = config;
    const sizes = { hiddenSize: d, ...attentionSizes(config, where) };
    const frequencies = wholeHeadRotary(config, sizes.headWidth, where);
    const rotates = rotatingLayers(config, where);
    const windows = layerWindows({ ...config, sliding_window: config.use_sliding_window ? config.sliding_window : null }, (i) => rotates[i] === false, where);
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
      modelType: "smollm3",
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
          const mixed = pass.attention(i, attentionStates(pass, `model.layers.${i}.self_attn`, h), { ...sizes, rotary: rotates[i] === true ? rotary : undefined, window: windows[i] });
          x = pass.residual(x, i, "attention", pass.linear(`model.layers.${i}.self_attn.o_proj`, mixed));

          const h2 = pass.rmsNorm(`model.layers.${i}.post_attention_layernorm`, x, epsilon);
          x = pass.residual(x, i, "feed_forward", gatedMlp(pass, `model.layers.${i}.mlp`, h2));
        }
        return pass.rmsNorm("model.norm", x, epsilon);
      },
    };
  },
};
