/** Hands an adapter over: as PEFT's two files, merged into its model, or taken out of a model that it was merged into. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import { resolveModelFolder } from "../../core/store/hub.ts";
import { readAdapterSettings, readAdapterTensors, writeAdapterFolder } from "../adapters/adapter-folder.ts";
import { bindAdapter, initialTensors } from "../adapters/all.ts";
import { exportMerged, exportUnmerged } from "../adapters/merge.ts";
import { openArchitecture } from "../architectures/all.ts";
import { startContext } from "./local-trainer.ts";

export interface ExportOptions {
  /** Folder of a PEFT adapter, or of a run that holds one. */
  readonly source: string;
  readonly out: string;
  readonly format: "peft" | "merged" | "unmerged";
  /** Base model, or for `unmerged` the merged one; default: the base that the adapter names. */
  readonly model?: string;
}

function adapterFolder(source: string): string {
  const found = [source, join(source, "adapter")].find((folder) => existsSync(join(folder, "adapter_config.json")));
  if (found !== undefined) return found;
  throw new FedtuneError("model", { where: source, expected: "an adapter folder, or a finished run", got: existsSync(source) ? "a folder without adapter_config.json" : "nothing there", remedy: "A run writes its adapter when it ends; `fedtune resume` finishes one" });
}

/** The base model that an adapter folder names. */
function namedBase(folder: string): string {
  const config: unknown = JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8"));
  const name = z.looseObject({ base_model_name_or_path: z.string().min(1) }).safeParse(config).data?.base_model_name_or_path;
  if (name === undefined) throw new FedtuneError("model", { where: folder, expected: "an adapter that names its base model", got: "none", remedy: "Give --model" });
  return name;
}

/** Writes the adapter, the merged model or the model it was before, and says which files. The adapter is checked against its model first. */
export async function exportAdapter(options: ExportOptions): Promise<{ readonly folder: string; readonly files: readonly string[] }> {
  const source = adapterFolder(options.source);
  const settings = readAdapterSettings(source);
  const baseModel = options.model ?? namedBase(source);
  const modelFolder = await resolveModelFolder(baseModel);
  const model = await openArchitecture(modelFolder);
  const adapter = bindAdapter(settings, model);
  const tensors = readAdapterTensors(source, adapter);
  const drawn = initialTensors(adapter.frozen.filter(({ name }) => !tensors.frozen.has(name)), 0, startContext(modelFolder, model));
  const frozen = new Map([...tensors.frozen, ...drawn]);
  if (options.format === "peft") writeAdapterFolder(options.out, { ...tensors, frozen, settings, model, baseModel });
  else {
    const write = options.format === "merged" ? exportMerged : exportUnmerged;
    write({ modelFolder, out: options.out }, model, adapter, new Map([...tensors.parameters, ...frozen]));
  }
  return { folder: options.out, files: readdirSync(options.out).sort() };
}
