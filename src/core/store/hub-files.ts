/** Which of a Hub model's files fedtune needs, and whether a folder holds them. Fetching is left to `hub-download.ts`. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FedtuneError } from "../base/errors.ts";

/** A file of a repository on the Hub. */
export interface HubFile {
  /** Relative to the repository, with "/". */
  readonly path: string;
  readonly sizeBytes: number;
  /** Name of its blob in the cache and proof of its content: SHA-256 of a large file, Git's SHA-1 of a small one. */
  readonly hash: string;
}

const SMALL = new Set([
  "config.json", "generation_config.json", "adapter_config.json", "model.safetensors.index.json",
  "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
  "chat_template.jinja", "chat_template.json",
]);

/**
 * Of all files of the model `name`, those that fedtune reads: configuration, tokenizer, chat template and safetensors weights.
 * @throws FedtuneError("model") where there are no safetensors weights
 */
export function neededFiles(name: string, files: readonly HubFile[]): HubFile[] {
  const hasModel = files.some(({ path }) => path === "model.safetensors" || path === "model.safetensors.index.json");
  // Beside a model in Hugging Face's own form, "consolidated" files hold the same weights a second time.
  const isWeights = (path: string): boolean => /^[\w.-]+\.safetensors$/.test(path) && !(hasModel && path.startsWith("consolidated"));
  if (!files.some(({ path }) => isWeights(path))) {
    const pickled = files.find(({ path }) => path.endsWith(".bin") || path.endsWith(".pt"));
    throw new FedtuneError("model", { where: `model ${name} on the Hub`, expected: "weights as safetensors", got: pickled === undefined ? "none" : `only ${pickled.path}, whose pickled code fedtune does not run`, remedy: "Choose another model, or convert it in Python: AutoModelForCausalLM.from_pretrained(name).save_pretrained(folder)" });
  }
  return files.filter(({ path }) => SMALL.has(path) || isWeights(path));
}

/** Whether a folder holds a configuration and all weights that it names: what can be told without the network. */
export function holdsModel(folder: string): boolean {
  const has = (name: string): boolean => existsSync(join(folder, name));
  if (has("adapter_config.json") && has("adapter_model.safetensors")) return true;
  if (!has("config.json")) return false;
  if (has("model.safetensors")) return true;
  if (!has("model.safetensors.index.json")) return false;
  try {
    const names = readFileSync(join(folder, "model.safetensors.index.json"), "utf8").match(/"[^"]+\.safetensors"/g) ?? [];
    return names.length > 0 && names.every((name) => has(name.slice(1, -1)));
  } catch {
    return false;
  }
}
