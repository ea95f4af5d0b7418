/** The small llama that most tests use. */
import type { NamedTensors } from "../../src/core/base/tensor.ts";
import { TINY_CONFIGS, writeTinyModel, type TinyModelOptions } from "./tiny-models.ts";

/** config.json of the model most tests use: width 24, 2 layers, 6 heads on 2 key-value heads, 61 tokens. */
export const TINY_CONFIG = TINY_CONFIGS.llama;

export interface TinyLlamaOptions extends TinyModelOptions {
  /** Fields of config.json that differ from TINY_CONFIG. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** Writes config.json and model.safetensors, and says what the weights are. */
export function writeTinyLlama(folder: string, { config = {}, ...options }: TinyLlamaOptions = {}): NamedTensors {
  return writeTinyModel(folder, { ...TINY_CONFIG, ...config }, options);
}
