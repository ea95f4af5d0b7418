/** What a run leaves behind: texts before and after, and the adapter in PEFT's format. */
import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { withFileErrors } from "../../core/base/file-errors.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import { syncFolder, temporaryBeside } from "../../core/store/files.ts";
import { writeAdapterFolder } from "../../llm/adapters/adapter-folder.ts";
import { encodePrompt } from "../../llm/data/encode-example.ts";
import type { Trainer } from "../../llm/training/types.ts";
import type { PreparedData } from "./data.ts";
import type { PreparedModel } from "./model.ts";
import type { Plan } from "./plan.ts";
import { ADAPTER } from "./run-folder.ts";

export interface SampleOptions {
  readonly plan: Plan;
  readonly model: PreparedModel;
  readonly data: PreparedData;
  readonly signal: AbortSignal;
}

/** What the model says to a prompt, greedily; the prompt is put to it as an example's would be. */
export async function sampleText(trainer: Trainer, prompt: string, adapter: NamedTensors<"float32"> | undefined, options: SampleOptions): Promise<string> {
  const { tokenizer } = options.model;
  const { samples, seed } = options.plan;
  const asked = promptIds(prompt, options);
  const [ids = new Int32Array()] = await trainer.generate(
    {
      prompts: [asked],
      options: { maxNewTokens: samples.max_new_tokens, temperature: 0, topK: 0, topP: 1, stop: [], seed, stopAtEnd: true },
      ...(adapter && { adapter }),
    },
    { signal: options.signal },
  );
  // Decoded together: a decoder drops the space before a text's first word.
  const textOf = (all: Int32Array): string => tokenizer.decode(all, { skipSpecialTokens: true });
  return textOf(Int32Array.of(...asked, ...ids)).slice(textOf(asked).length);
}

function promptIds(prompt: string, { model: { tokenizer }, data: { template, kind } }: SampleOptions): Int32Array {
  if (kind !== "text") return encodePrompt({ kind: "instruction", instruction: prompt, output: "", fields: {} }, { tokenizer, template });
  const ids = tokenizer.encode(prompt, { addSpecialTokens: false });
  return tokenizer.bosId === undefined ? ids : Int32Array.of(tokenizer.bosId, ...ids);
}

/** Writes the adapter's folder: whole or not at all, in place of an earlier one. Throws FedtuneError("resources"). */
export async function writeAdapter(folder: string, tensors: NamedTensors<"float32">, { plan, model, trainer }: { readonly plan: Plan; readonly model: PreparedModel; readonly trainer: Pick<Trainer, "savedAdapter"> }): Promise<void> {
  const saved = await trainer.savedAdapter(tensors);
  const target = join(folder, ADAPTER);
  // What a killed export left behind.
  for (const name of readdirSync(folder)) if (name.startsWith(`${ADAPTER}.tmp-`)) rmSync(join(folder, name), { recursive: true, force: true });
  const temporary = temporaryBeside(target);
  writeAdapterFolder(temporary, { ...saved, settings: plan.adapter, model: model.model, baseModel: plan.model });
  withFileErrors(target, "a folder to write", () => {
    if (existsSync(target)) rmSync(target, { recursive: true });
    renameSync(temporary, target);
    syncFolder(folder);
  });
}
