/** Writes small llama folders with random weights whose outputs depend on everything: no weight is 0 or 1, no two norms alike. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { normals, randomKey } from "../../src/core/base/random.ts";
import { elementCount, tensor, type NamedTensors, type Tensor } from "../../src/core/base/tensor.ts";
import { float32ToFloat16 } from "../../src/core/formats/half.ts";
import { writeSafetensors } from "../../src/core/formats/safetensors-writer.ts";
import { llama } from "../../src/llm/architectures/llama.ts";

/** config.json of the model most tests use: width 24, 2 layers, 6 heads on 2 key-value heads, 61 tokens. */
export const TINY_CONFIG = {
  model_type: "llama", vocab_size: 61, hidden_size: 24, intermediate_size: 35, num_hidden_layers: 2, num_attention_heads: 6, num_key_value_heads: 2,
  max_position_embeddings: 64, rms_norm_eps: 1e-5, rope_theta: 500, tie_word_embeddings: true,
} as const;

/** The tensors of a checkpoint for a config: standard deviation 1/√columns for matrices (embeddings 0.5), 1 ± 0.3 for norms. */
export function randomWeights(config: Readonly<Record<string, unknown>>, seed: number): Map<string, Tensor<"float32">> {
  const model = llama.open(config, "tiny llama");
  const declared = model.tensors.flatMap(({ shape, parts }) => parts.map(({ name, rows }) => ({ name, shape: shape.with(0, rows) })));
  return new Map(declared.map(({ name, shape }) => {
    const draws = normals(randomKey(seed, name), [], elementCount(shape));
    const deviation = name.includes("embed") ? 0.5 : 1 / Math.sqrt(shape[1] ?? 1);
    return [name, tensor("float32", shape, Float32Array.from(draws, (x) => (shape.length === 1 ? 1 + 0.3 * Math.tanh(x) : deviation * x)))];
  }));
}

export interface TinyLlamaOptions {
  /** Fields of config.json that differ from TINY_CONFIG. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly dtype?: "float32" | "float16";
  readonly seed?: number;
  /** Changes the tensors before they are written. */
  readonly edit?: (tensors: Map<string, Tensor>) => void;
}

/** Writes config.json and model.safetensors, and says what the weights are. */
export function writeTinyLlama(folder: string, { config = {}, dtype = "float32", seed = 3, edit }: TinyLlamaOptions = {}): NamedTensors {
  const full = { ...TINY_CONFIG, ...config };
  const drawn = randomWeights(full, seed);
  const narrow = ({ shape, data }: Tensor<"float32">): Tensor => (dtype === "float32" ? tensor("float32", shape, data) : tensor("float16", shape, float32ToFloat16(data)));
  const tensors = new Map<string, Tensor>([...drawn].map(([name, t]) => [name, narrow(t)]));
  edit?.(tensors);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), JSON.stringify(full));
  writeSafetensors(join(folder, "model.safetensors"), tensors, { format: "pt" });
  return tensors;
}
