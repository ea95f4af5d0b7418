/** Writes a model's folder anew with some of its tensors changed, one tensor in memory at a time; everything else goes along. */
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { z } from "zod";
import { must } from "../../core/base/errors.ts";
import { elementCount } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import type { Checkpoint } from "../../core/formats/checkpoint.ts";
import { createSafetensorsWriter } from "../../core/formats/safetensors-writer.ts";
import { ensureWritableFolder, writeFileAtomic } from "../../core/store/files.ts";

const CONFIG = "config.json";
const INDEX = "model.safetensors.index.json";
/** What a model folder holds besides its weights. */
const OTHER_FILES = [CONFIG, INDEX, "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model", "vocab.json", "merges.txt", "added_tokens.json", "chat_template.jinja"];

export interface FolderChanges {
  /** A tensor of the checkpoint as it is to be written. */
  tensor(name: string): Tensor;
  /** One more tensor, in the file that holds `beside`. */
  readonly added?: { readonly name: string; readonly tensor: Tensor; readonly beside: string };
  /** Fields of config.json that change. */
  readonly config?: Readonly<Record<string, unknown>>;
}

const indexSchema = z.looseObject({ metadata: z.looseObject({ total_size: z.number().optional() }).optional(), weight_map: z.record(z.string(), z.string()) });

/** Writes JSON as transformers does. */
function writeJson(path: string, value: unknown): void {
  writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** Adds a tensor to a copied index of weights. */
function addToIndex(path: string, { name, tensor, beside }: NonNullable<FolderChanges["added"]>): void {
  const index = indexSchema.parse(JSON.parse(readFileSync(path, "utf8")));
  const size = index.metadata?.total_size;
  const bytes = elementCount(tensor.shape) * tensor.data.BYTES_PER_ELEMENT;
  writeJson(path, {
    ...index,
    ...(size === undefined ? {} : { metadata: { ...index.metadata, total_size: size + bytes } }),
    weight_map: { ...index.weight_map, [name]: must(index.weight_map[beside], beside) },
  });
}

/** Writes the folder `out` from a checkpoint's: its files under their names, in their order. Throws FedtuneError("resources") where it cannot be written. */
export function copyModelFolder({ checkpoint, out }: { readonly checkpoint: Checkpoint; readonly out: string }, changes: FolderChanges): void {
  ensureWritableFolder(out);
  const { added, config } = changes;
  for (const file of checkpoint.files) {
    const names = [...file.tensors.keys()];
    const declarations = names.map((name) => ({ name, dtype: checkpoint.entry(name).dtype, shape: checkpoint.entry(name).shape }));
    const here = added !== undefined && names.includes(added.beside) ? added : undefined;
    if (here !== undefined) declarations.push({ name: here.name, dtype: here.tensor.dtype, shape: here.tensor.shape });
    using writer = createSafetensorsWriter(join(out, basename(file.path)), declarations, { metadata: { format: "pt" } });
    for (const name of names) writer.write(name, changes.tensor(name));
    if (here !== undefined) writer.write(here.name, here.tensor);
    writer.finish();
  }
  for (const name of OTHER_FILES) {
    if (existsSync(join(checkpoint.folder, name))) copyFileSync(join(checkpoint.folder, name), join(out, name));
  }
  if (added !== undefined && checkpoint.files.length > 1) addToIndex(join(out, INDEX), added);
  if (config !== undefined) {
    const path = join(out, CONFIG);
    const fields: unknown = JSON.parse(readFileSync(path, "utf8"));
    writeJson(path, { ...z.looseObject({}).parse(fields), ...config });
  }
}
