/** Llama (Touvron et al. 2023): RMS norm, rotary positions, grouped-query attention, gated SiLU feed-forward. */
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import type { GraphBuilder } from "../../engine/graph/builder.ts";
import { multiplyDims } from "../../engine/graph/dims.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import { tokenDims } from "./architecture.ts";
import type { Adapt, Architecture, ArchitectureModel, BaseTensor, ForwardInputs, ForwardResult, LayerCache, LinearModule } from "./architecture.ts";
import { attend, splitHeads } from "./attention.ts";
import { parseConfig } from "./config.ts";
import { inverseFrequencies, rotaryFields, rotaryTables } from "./rotary.ts";

const size = z.int().positive();

const llamaConfig = z.looseObject({
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  max_position_embeddings: size.default(2048),
  rms_norm_eps: z.number().positive().default(1e-6),
  tie_word_embeddings: z.boolean().default(false),
  hidden_act: z.literal("silu").default("silu"),
  attention_bias: z.literal(false).default(false),
  mlp_bias: z.literal(false).default(false),
  ...rotaryFields,
});

interface Dimensions {
  readonly d: number;
  readonly f: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headWidth: number;
}

/** Names of one layer's modules and prepared tensors. */
function layerNames(i: number) {
  const layer = `model.layers.${i}`;
  return {
    inputNorm: `${layer}.input_layernorm.weight`,
    postNorm: `${layer}.post_attention_layernorm.weight`,
    q: `${layer}.self_attn.q_proj`, k: `${layer}.self_attn.k_proj`, v: `${layer}.self_attn.v_proj`, o: `${layer}.self_attn.o_proj`,
    gate: `${layer}.mlp.gate_proj`, up: `${layer}.mlp.up_proj`, down: `${layer}.mlp.down_proj`,
    qkv: `${layer}.self_attn.qkv_proj.weight`, gateUp: `${layer}.mlp.gate_up_proj.weight`,
  };
}

function layerLinears(i: number, { d, f, heads, keyValueHeads, headWidth }: Dimensions): LinearModule[] {
  const n = layerNames(i);
  const linear = (path: string, inFeatures: number, outFeatures: number): LinearModule => ({ path, inFeatures, outFeatures, weight: `${path}.weight`, isHead: false });
  const [queryWidth, keyWidth] = [heads * headWidth, keyValueHeads * headWidth];
  return [
    linear(n.q, d, queryWidth), linear(n.k, d, keyWidth), linear(n.v, d, keyWidth), linear(n.o, queryWidth, d),
    linear(n.gate, d, f), linear(n.up, d, f), linear(n.down, f, d),
  ];
}

function layerTensors(i: number, { d, f, heads, keyValueHeads, headWidth }: Dimensions): BaseTensor[] {
  const n = layerNames(i);
  const joined = (name: string, columns: number, parts: readonly { name: string; rows: number }[]): BaseTensor => ({ name, shape: [parts.reduce((sum, p) => sum + p.rows, 0), columns], parts });
  const vector = (name: string): BaseTensor => ({ name, shape: [d], parts: [{ name, rows: d }] });
  const [queryWidth, keyWidth] = [heads * headWidth, keyValueHeads * headWidth];
  return [
    joined(n.qkv, d, [{ name: `${n.q}.weight`, rows: queryWidth }, { name: `${n.k}.weight`, rows: keyWidth }, { name: `${n.v}.weight`, rows: keyWidth }]),
    joined(`${n.o}.weight`, queryWidth, [{ name: `${n.o}.weight`, rows: d }]),
    joined(n.gateUp, d, [{ name: `${n.gate}.weight`, rows: f }, { name: `${n.up}.weight`, rows: f }]),
    joined(`${n.down}.weight`, f, [{ name: `${n.down}.weight`, rows: d }]),
    vector(n.inputNorm),
    vector(n.postNorm),
  ];
}

const EMBEDDING = "model.embed_tokens.weight";
const FINAL_NORM = "model.norm.weight";
const HEAD = "lm_head";

export const llama: Architecture = {
  open(raw, where): ArchitectureModel {
    const config = parseConfig(llamaConfig, raw, where);
    const { vocab_size: vocab, hidden_size: d, num_attention_heads: heads, num_hidden_layers: layers, rms_norm_eps: epsilon } = config;
    const keyValueHeads = config.num_key_value_heads ?? heads;
    const headWidth = config.head_dim ?? d / heads;
    if (!Number.isInteger(headWidth) || headWidth % 2 !== 0 || heads % keyValueHeads !== 0) {
      throw new FedtuneError("model", {
        where: `${where}: num_attention_heads`, expected: "heads that divide hidden_size into even widths and are a multiple of num_key_value_heads",
        got: `${heads} heads, ${keyValueHeads} key-value heads, hidden_size ${d}`,
      });
    }
    const dims: Dimensions = { d, f: config.intermediate_size, heads, keyValueHeads, headWidth };
    const frequencies = inverseFrequencies(config, headWidth, where);
    const table = (name: string): BaseTensor => ({ name, shape: [vocab, d], parts: [{ name, rows: vocab }] });
    const headWeight = config.tie_word_embeddings ? EMBEDDING : `${HEAD}.weight`;
    const indices = Array.from({ length: layers }, (_, i) => i);

    function layer(builder: GraphBuilder, x: Value, i: number, inputs: ForwardInputs & { readonly cosine: Value; readonly sine: Value }, adapt: Adapt): { x: Value; cache: LayerCache } {
      const n = layerNames(i);
      const weight = (name: string, shape: readonly number[]): Value => builder.weight(name, "float32", shape);
      const { clients, rows, tokens } = tokenDims(inputs.ids);
      const flat = multiplyDims(rows, tokens);
      const byRow = (value: Value, width: number): Value => g.reshape(value, [multiplyDims(clients, rows), tokens, width]);
      const [queryWidth, keyWidth] = [heads * headWidth, keyValueHeads * headWidth];

      const h = g.rmsNorm(x, weight(n.inputNorm, [d]), epsilon); // [C, N, D]
      const qkv = g.matMul(h, weight(n.qkv, [queryWidth + 2 * keyWidth, d]), { transB: true });
      const [q0 = h, k0 = h, v0 = h] = g.split(qkv, 2, [queryWidth, keyWidth, keyWidth]);
      const q = adapt({ path: n.q, input: h, output: q0 });
      const k = adapt({ path: n.k, input: h, output: k0 });
      const v = adapt({ path: n.v, input: h, output: v0 });
      const rotate = (value: Value, width: number): Value => g.rotaryEmbedding(byRow(value, width), inputs.cosine, inputs.sine);
      const queries = splitHeads(rotate(q, queryWidth), heads, headWidth); // [X, H, T, E]
      const newKeys = splitHeads(rotate(k, keyWidth), keyValueHeads, headWidth); // [X, K, T, E]
      const newValues = splitHeads(byRow(v, keyWidth), keyValueHeads, headWidth);
      const past = inputs.past?.[i];
      const cache = past === undefined ? { key: newKeys, value: newValues } : { key: g.concat([past.key, newKeys], 2, inputs.keys), value: g.concat([past.value, newValues], 2, inputs.keys) };
      const mixed = g.reshape(attend(queries, cache, inputs.mask, dims), [clients, flat, queryWidth]);
      const o = adapt({ path: n.o, input: mixed, output: g.matMul(mixed, weight(`${n.o}.weight`, [d, queryWidth]), { transB: true }) });
      const afterAttention = g.add(x, o);

      const h2 = g.rmsNorm(afterAttention, weight(n.postNorm, [d]), epsilon);
      const [gate0 = h2, up0 = h2] = g.split(g.matMul(h2, weight(n.gateUp, [2 * dims.f, d]), { transB: true }), 2, [dims.f, dims.f]);
      const gate = adapt({ path: n.gate, input: h2, output: gate0 });
      const up = adapt({ path: n.up, input: h2, output: up0 });
      const gated = g.mul(g.silu(gate), up); // [C, N, F]
      const down = adapt({ path: n.down, input: gated, output: g.matMul(gated, weight(`${n.down}.weight`, [d, dims.f]), { transB: true }) });
      return { x: g.add(afterAttention, down), cache };
    }

    return {
      modelType: "llama",
      vocabSize: vocab, hiddenSize: d, layers, keyValueHeads, headWidth,
      maxPositions: config.max_position_embeddings,
      tensors: [table(EMBEDDING), ...indices.flatMap((i) => layerTensors(i, dims)), { name: FINAL_NORM, shape: [d], parts: [{ name: FINAL_NORM, rows: d }] }, ...(config.tie_word_embeddings ? [] : [table(headWeight)])],
      linears: [...indices.flatMap((i) => layerLinears(i, dims)), { path: HEAD, inFeatures: d, outFeatures: vocab, weight: headWeight, isHead: true }],
      head: { path: HEAD, tensor: headWeight },
      forward(builder: GraphBuilder, inputs: ForwardInputs, adapt: Adapt): ForwardResult {
        const { clients, rows, tokens } = tokenDims(inputs.ids);
        const embedded = g.gather(builder.weight(EMBEDDING, "float32", [vocab, d]), inputs.ids); // [C, B, T, D]
        const tables = rotaryTables(g.reshape(inputs.positions, [multiplyDims(clients, rows), tokens]), frequencies);
        let x = g.reshape(embedded, [clients, multiplyDims(rows, tokens), d]);
        const cache: LayerCache[] = [];
        for (const i of indices) {
          const result = layer(builder, x, i, { ...inputs, ...tables }, adapt);
          x = result.x;
          cache.push(result.cache);
        }
        return { hidden: g.rmsNorm(x, builder.weight(FINAL_NORM, "float32", [d]), epsilon), cache };
      },
    };
  },
};
