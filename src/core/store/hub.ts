/** From what a config calls a model to a folder on this machine: a folder as it is, or a model of the Hugging Face Hub. */
import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { FedtuneError } from "../base/errors.ts";
import { holdsModel, neededFiles } from "./hub-files.ts";
import { fetchSnapshot, isHubId, type HubOptions } from "./hub-repository.ts";

export interface ResolveModelOptions extends HubOptions {
  /** Branch, tag or commit on the Hub; default "main". */
  readonly revision?: string;
}

function localFolder(nameOrPath: string): string | undefined {
  const path = resolve(nameOrPath);
  if (existsSync(path)) {
    if (statSync(path).isDirectory()) return nameOrPath;
    throw new FedtuneError("model", { where: `model ${nameOrPath}`, expected: "a folder", got: "a file", remedy: "Name the folder that holds config.json and the weights" });
  }
  if (isHubId(nameOrPath)) return undefined;
  throw new FedtuneError("model", { where: `model ${nameOrPath}`, expected: "a model's folder, or a Hub id of the form owner/name", got: `no folder ${path}`, remedy: "Check the path" });
}

/**
 * The folder of a model. A folder that exists is returned as given, without touching the network. A Hub id (`owner/name`) is
 * brought into Hugging Face's own cache: configuration, tokenizer, chat template and safetensors, each verified by its hash;
 * what is there already is not fetched again. Without a network, or with HF_HUB_OFFLINE=1, a model in the cache is used as it is.
 * @throws FedtuneError("model") for a path that does not exist, a model or revision that the Hub lacks or does not show, or one
 *   without safetensors; ("resources") for a network or disk that fails; ("config") for a malformed token; ("interrupted") on abort
 */
export async function resolveModelFolder(nameOrPath: string, options: ResolveModelOptions = {}): Promise<string> {
  const local = localFolder(nameOrPath);
  if (local !== undefined) return local;
  const { revision = "main", ...rest } = options;
  const { folder } = await fetchSnapshot({ type: "model", name: nameOrPath, revision }, { pick: (files) => neededFiles(nameOrPath, files), holds: holdsModel, localPath: resolve(nameOrPath) }, rest);
  return folder;
}
