/** Small model folders of every architecture, with random weights whose outputs depend on everything: no weight is 0 or 1, no two norms alike. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { must } from "../../src/core/base/errors.ts";
import { normals, randomKey } from "../../src/core/base/random.ts";
import { elementCount, tensor, type NamedTensors, type Tensor } from "../../src/core/base/tensor.ts";
import { float32ToFloat16 } from "../../src/core/formats/half.ts";
import { writeSafetensors } from "../../src/core/formats/safetensors-writer.ts";
import type { ReferenceTensor } from "../../src/engine/graph/ops/record.ts";
import { ARCHITECTURES } from "../../src/llm/architectures/all.ts";
import type { Architecture, ArchitectureModel } from "../../src/llm/architectures/architecture.ts";
import { pickArchitecture } from "../../src/llm/architectures/config.ts";

export type ModelConfig = Readonly<Record<string, unknown>>;

/** Width 16, 2 layers, 4 heads on 2 key-value heads, 29 tokens, 48 positions. */
const SIZES = { vocab_size: 29, hidden_size: 16, intermediate_size: 21, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 48 };
/** Frequencies that turn far within few tokens. */
const ROTARY = { ...SIZES, rope_theta: 50 };

/** A small config.json of every architecture, with what sets it apart: windows shorter than the examples of tests, soft caps that bite. */
export const TINY_CONFIGS = {
  bloom: { model_type: "bloom", vocab_size: 29, hidden_size: 18, n_layer: 2, n_head: 3 },
  gemma: { model_type: "gemma", ...ROTARY, head_dim: 6 },
  gemma2: { model_type: "gemma2", ...ROTARY, head_dim: 6, sliding_window: 4, attn_logit_softcapping: 1.5, final_logit_softcapping: 2.5, query_pre_attn_scalar: 3 },
  gemma3_text: { model_type: "gemma3_text", ...ROTARY, head_dim: 6, sliding_window: 4, sliding_window_pattern: 2, rope_local_base_freq: 7, query_pre_attn_scalar: 5 },
  gpt2: { model_type: "gpt2", vocab_size: 29, n_embd: 16, n_layer: 2, n_head: 4, n_inner: 21, n_positions: 48 },
  gpt_neox: { model_type: "gpt_neox", ...ROTARY, num_attention_heads: 2, rotary_pct: 0.5, rotary_emb_base: 50 },
  /** Width 24, 6 heads on 2 key-value heads, 61 tokens. */
  llama: { model_type: "llama", vocab_size: 61, hidden_size: 24, intermediate_size: 35, num_hidden_layers: 2, num_attention_heads: 6, num_key_value_heads: 2, max_position_embeddings: 64, rms_norm_eps: 1e-5, rope_theta: 500, tie_word_embeddings: true },
  mistral: { model_type: "mistral", ...ROTARY, sliding_window: 4 },
  opt: { model_type: "opt", vocab_size: 29, hidden_size: 16, ffn_dim: 21, num_hidden_layers: 2, num_attention_heads: 4, max_position_embeddings: 48, word_embed_proj_dim: 10 },
  phi3: { model_type: "phi3", ...ROTARY, original_max_position_embeddings: 48, partial_rotary_factor: 0.5, sliding_window: 6 },
  qwen2: { model_type: "qwen2", ...ROTARY, use_sliding_window: true, sliding_window: 4, max_window_layers: 1, tie_word_embeddings: true },
  qwen3: { model_type: "qwen3", ...ROTARY, head_dim: 6, use_sliding_window: true, sliding_window: 5, max_window_layers: 1 },
  smollm3: { model_type: "smollm3", ...ROTARY, no_rope_layers: [1, 0] },
} as const satisfies Readonly<Record<keyof typeof ARCHITECTURES, ModelConfig>>;

/** The model that a config describes. */
export function openTiny(config: ModelConfig): ArchitectureModel {
  return pickArchitecture<Architecture>(ARCHITECTURES, config, "tiny model").open(config, "tiny model");
}

/**
 * The tensors of a checkpoint for a config. Standard deviations: 1 / √in for linear modules, 0.5 for tables (as the model
 * sees them), 0.2 for biases; weights of norms are 1 ± 0.3.
 */
export function randomWeights(config: ModelConfig, seed: number): Map<string, Tensor<"float32">> {
  const model = openTiny(config);
  const linears = new Map(model.linears.map((l) => [l.weight, l]));
  const declared = model.tensors.flatMap(({ shape, parts }) => parts.map(({ name, rows }) => ({ name, shape: shape.with(0, rows) })));
  return new Map(declared.map(({ name, shape }) => {
    const draws = normals(randomKey(seed, name), [], elementCount(shape));
    const linear = linears.get(name);
    const deviation = linear === undefined ? 0.5 / (name === model.embedding ? (model.embeddingScale ?? 1) : 1) : 1 / Math.sqrt(linear.inFeatures);
    const value = (x: number): number => (shape.length > 1 ? deviation * x : name.endsWith(".bias") ? 0.2 * x : 1 + 0.3 * Math.tanh(x));
    return [name, tensor("float32", shape, Float32Array.from(draws, value))];
  }));
}

/** The weights of the prepared base in doubles, for the float64 reference: parts by themselves and joined along their rows. */
export function referenceWeights(config: ModelConfig, weights: NamedTensors<"float32"> = randomWeights(config, 3)): [string, ReferenceTensor][] {
  const values = (name: string): number[] => [...must(weights.get(name), name).data];
  const reference = (name: string, shape: readonly number[], data: number[]): [string, ReferenceTensor] => [name, { dtype: "float32", shape, data: Float64Array.from(data) }];
  return openTiny(config).tensors.flatMap(({ name, shape, parts }) => [
    ...parts.map((part) => reference(part.name, shape.with(0, part.rows), values(part.name))),
    reference(name, shape, parts.flatMap((part) => values(part.name))),
  ]);
}

export interface TinyModelOptions {
  readonly dtype?: "float32" | "float16";
  readonly seed?: number;
  /** Changes the tensors before they are written. */
  readonly edit?: (tensors: Map<string, Tensor>) => void;
}

/** Writes config.json and model.safetensors, and says what the weights are. */
export function writeTinyModel(folder: string, config: ModelConfig, { dtype = "float32", seed = 3, edit }: TinyModelOptions = {}): NamedTensors {
  const narrow = ({ shape, data }: Tensor<"float32">): Tensor => (dtype === "float32" ? tensor("float32", shape, data) : tensor("float16", shape, float32ToFloat16(data)));
  const tensors = new Map<string, Tensor>([...randomWeights(config, seed)].map(([name, t]) => [name, narrow(t)]));
  edit?.(tensors);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  writeSafetensors(join(folder, "model.safetensors"), tensors, { format: "pt" });
  return tensors;
}
