/** Shapes that are measured with random weights, named as in the PyTorch peer. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { writeRandomModel } from "../../llm/index.ts";
import { cacheFolder } from "../../core/index.ts";

const llama = (vocab: number, hidden: number, feedForward: number, layers: number, heads: number, keyValueHeads: number) => ({
  model_type: "llama", vocab_size: vocab, hidden_size: hidden, intermediate_size: feedForward, num_hidden_layers: layers, num_attention_heads: heads,
  num_key_value_heads: keyValueHeads, max_position_embeddings: 2048, rms_norm_eps: 1e-6, rope_theta: 10000, tie_word_embeddings: true, bos_token_id: 1, eos_token_id: 2,
});

/** Configs by name. */
export const SHAPES = {
  "smollm2-135m": llama(49152, 576, 1536, 30, 9, 3),
  "smollm2-360m": llama(49152, 960, 2560, 32, 15, 5),
  "minimind2-small": llama(6400, 512, 1408, 8, 8, 2),
} as const satisfies Record<string, ReturnType<typeof llama>>;

export type ShapeName = keyof typeof SHAPES;

/** Whether a name is a shape's. */
export function isShape(name: string): name is ShapeName {
  return Object.hasOwn(SHAPES, name);
}

/** The folder of a shape with random weights, made once in the cache. */
export function shapeFolder(name: ShapeName): string {
  const config = SHAPES[name];
  const folder = join(cacheFolder(), "bench", `${name}-${createHash("sha256").update(JSON.stringify(config)).digest("hex").slice(0, 12)}`);
  if (!existsSync(join(folder, "model.safetensors"))) writeRandomModel(folder, config, 0);
  return folder;
}
