/** OPT (Zhang et al. 2022): layer norm before or (350m) after each sublayer, learned positions, ReLU feed-forward, embeddings of a width of their own. */
import { z } from "zod";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import { activate, activationName } from "./activation.ts";
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { count, headWidthOf, indices, parseConfig } from "./config.ts";
import { ModuleList } from "./modules.ts";

/** Defaults as in transformers' OPTConfig. */
const optConfig = z.looseObject({
  vocab_size: count.default(50_272),
  hidden_size: count.default(768),
  num_hidden_layers: count.default(12),
  num_attention_heads: count.default(12),
  ffn_dim: count.default(3072),
  max_position_embeddings: count.default(2048),
  word_embed_proj_dim: count.nullish(),
  do_layer_norm_before: z.boolean().default(true),
  /** Checkpoints that were fine-tuned before transformers 4.20.1. */
  _remove_final_layer_norm: z.boolean().default(false),
  enable_bias: z.boolean().default(true),
  layer_norm_elementwise_affine: z.boolean().default(true),
  activation_function: activationName.default("relu"),
  tie_word_embeddings: z.boolean().default(true),
});

/** The table of positions has two rows in front that no token uses: fairseq kept them for padding. */
const FIRST_POSITION = 2;
/** PyTorch's default; OPT's config has no field for it. */
const EPSILON = 1e-5;

export const opt: Architecture = {
  open(raw, where): ArchitectureModel {
    const config = parseConfig(optConfig, raw, where);
    const { vocab_size: vocab, hidden_size: d, num_attention_heads: heads, ffn_dim: f, do_layer_norm_before: before, enable_bias: bias, layer_norm_elementwise_affine: affine } = config;
    const headWidth = headWidthOf(d, heads, `${where}: num_attention_heads`);
    const embedded = config.word_embed_proj_dim ?? d;
    const hasFinalNorm = before && !config._remove_final_layer_norm;
    const layers = indices(config.num_hidden_layers);
    const [block, attention] = [(i: number) => `model.decoder.layers.${i}`, (i: number) => `model.decoder.layers.${i}.self_attn`];

    const modules = new ModuleList();
    const addNorm = (path: string): void => {
      if (affine) modules.norm(path, d, { bias: true });
    };
    modules.table("model.decoder.embed_tokens", vocab, embedded);
    modules.table("model.decoder.embed_positions", config.max_position_embeddings + FIRST_POSITION, d);
    if (embedded !== d) {
      modules.linear({ path: "model.decoder.project_out", inFeatures: d, outFeatures: embedded });
      modules.linear({ path: "model.decoder.project_in", inFeatures: embedded, outFeatures: d });
    }
    if (hasFinalNorm) addNorm("model.decoder.final_layer_norm");
    for (const i of layers) {
      modules.linear([
        { path: `${attention(i)}.k_proj`, inFeatures: d, outFeatures: d },
        { path: `${attention(i)}.v_proj`, inFeatures: d, outFeatures: d },
        { path: `${attention(i)}.q_proj`, inFeatures: d, outFeatures: d },
      ], { joined: `${attention(i)}.kvq_proj`, bias });
      modules.linear({ path: `${attention(i)}.out_proj`, inFeatures: d, outFeatures: d }, { bias });
      addNorm(`${block(i)}.self_attn_layer_norm`);
      modules.linear({ path: `${block(i)}.fc1`, inFeatures: d, outFeatures: f }, { bias });
      modules.linear({ path: `${block(i)}.fc2`, inFeatures: f, outFeatures: d }, { bias });
      addNorm(`${block(i)}.final_layer_norm`);
    }
    modules.head({ path: "lm_head", inFeatures: embedded, outFeatures: vocab }, { tiedTo: config.tie_word_embeddings ? "model.decoder.embed_tokens" : undefined });

    return {
      modelType: "opt",
      vocabSize: vocab, hiddenSize: d, embeddingSize: embedded, layers: layers.length, heads, keyValueHeads: heads, headWidth,
      maxPositions: config.max_position_embeddings,
      tensors: modules.tensors, linears: modules.linears, tied: modules.tied,
      defaultTargets: { lowRank: ["q_proj", "v_proj"], rescaled: ["q_proj", "k_proj", "fc2"], feedForward: ["fc2"] },
      embedding: "model.decoder.embed_tokens.weight", head: { path: "lm_head", softCap: 0 }, checkpointPrefix: "model.",
      forward(pass) {
        const norm = (path: string, x: Value): Value => (affine ? pass.layerNorm(path, x, EPSILON) : pass.plainLayerNorm(x, EPSILON));
        const tokens = pass.embed("model.decoder.embed_tokens"); // [C, N, P]
        const rows = g.add(pass.inputs.positions, FIRST_POSITION);
        let x = g.add(embedded === d ? tokens : pass.linear("model.decoder.project_in", tokens), pass.lookUp("model.decoder.embed_positions", rows)); // [C, N, D]
        for (const i of layers) {
          const attentionNorm = `${block(i)}.self_attn_layer_norm`;
          const h = before ? norm(attentionNorm, x) : x;
          const [k = h, v = h, q = h] = pass.linears([`${attention(i)}.k_proj`, `${attention(i)}.v_proj`, `${attention(i)}.q_proj`], h);
          const mixed = pass.attention(i, { q, k, v }, { heads, keyValueHeads: heads, headWidth });
          x = pass.residual(x, i, "attention", pass.linear(`${attention(i)}.out_proj`, mixed));
          if (!before) x = norm(attentionNorm, x);

          const feedForwardNorm = `${block(i)}.final_layer_norm`;
          const inner = pass.linear(`${block(i)}.fc1`, before ? norm(feedForwardNorm, x) : x);
          x = pass.residual(x, i, "feed_forward", pass.linear(`${block(i)}.fc2`, activate(config.activation_function, inner)));
          if (!before) x = norm(feedForwardNorm, x);
        }
        if (hasFinalNorm) x = norm("model.decoder.final_layer_norm", x);
        return embedded === d ? x : pass.linear("model.decoder.project_out", x); // [C, N, P]
      },
    };
  },
};
