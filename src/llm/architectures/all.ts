/** The record of architectures, by `model_type`. */
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { bloom } from "./bloom.ts";
import { pickArchitecture, readModelConfig } from "./config.ts";
import { gemma } from "./gemma.ts";
import { gemma2 } from "./gemma2.ts";
import { gemma3Text } from "./gemma3_text.ts";
import { gpt2 } from "./gpt2.ts";
import { gptNeox } from "./gpt_neox.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { opt } from "./opt.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";
import { smollm3 } from "./smollm3.ts";

export const ARCHITECTURES = { bloom, gemma, gemma2, gemma3_text: gemma3Text, gpt2, gpt_neox: gptNeox, llama, mistral, opt, phi3, qwen2, qwen3, smollm3 } satisfies Record<string, Architecture>;

/** The model that a folder's config.json describes. Throws FedtuneError("model") that names what is not supported. */
export async function openArchitecture(folder: string): Promise<ArchitectureModel> {
  const config = await readModelConfig(folder);
  return pickArchitecture<Architecture>(ARCHITECTURES, config, `${folder}/config.json`).open(config, `${folder}/config.json`);
}
