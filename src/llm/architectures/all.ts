/** The record of architectures, by `model_type`. */
import type { Architecture, ArchitectureModel } from "./architecture.ts";
import { pickArchitecture, readModelConfig } from "./config.ts";
import { gemma } from "./gemma.ts";
import { gemma2 } from "./gemma2.ts";
import { gemma3Text } from "./gemma3_text.ts";
import { llama } from "./llama.ts";

export const ARCHITECTURES = { gemma, gemma2, gemma3_text: gemma3Text, llama } satisfies Record<string, Architecture>;

/** The model that a folder's config.json describes. Throws FedtuneError("model") that names what is not supported. */
export async function openArchitecture(folder: string): Promise<ArchitectureModel> {
  const config = await readModelConfig(folder);
  return pickArchitecture<Architecture>(ARCHITECTURES, config, `${folder}/config.json`).open(config, `${folder}/config.json`);
}
