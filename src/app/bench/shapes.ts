/** Shapes that are measured with random weights, named as in the PyTorch peer. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { writeRandomModel } from "../../llm/index.ts";
import { cacheFolder } from "../../core/index.ts";

interface Sizes {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
}

const llama = (sizes: Sizes) => ({
  model_type: "llama", ...sizes, max_position_embeddings: 2048, rms_norm_eps: 1e-6, rope_theta: 10000, tie_word_embeddings: true, bos_token_id: 1, eos_token_id: 2,
});

/** Configs by name. */
export const SHAPES = {
  "smollm2-135m": llama({ vocab_size: 49152, hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 30, num_attention_heads: 9, num_key_value_heads: 3 }),
  "smollm2-360m": llama({ vocab_size: 49152, hidden_size: 960, intermediate_size: 2560, num_hidden_layers: 32, num_attention_heads: 15, num_key_value_heads: 5 }),
  "minimind2-small": llama({ vocab_size: 6400, hidden_size: 512, intermediate_size: 1408, num_hidden_layers: 8, num_attention_heads: 8, num_key_value_heads: 2 }),
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
