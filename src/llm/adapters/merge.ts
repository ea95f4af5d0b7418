/** Folds an adapter into its base: a model folder that needs no adapter, in the checkpoint's own dtypes. */
import { copyFileSync, existsSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { FedtuneError, must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { NamedTensors, Tensor } from "../../core/base/tensor.ts";
import { openCheckpoint } from "../../core/formats/checkpoint.ts";
import { float32ToBfloat16, float32ToFloat16 } from "../../core/formats/half.ts";
import { createSafetensorsWriter } from "../../core/formats/safetensors-writer.ts";
import { ensureWritableFolder } from "../../core/store/files.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { modelNames } from "../architectures/prepared-base.ts";
import type { BoundAdapter } from "./adapter.ts";

/** What a model folder holds besides its weights. */
const OTHER_FILES = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model", "vocab.json", "merges.txt", "added_tokens.json", "chat_template.jinja", "model.safetensors.index.json"];

function narrow(data: Float64Array | Float32Array, like: Tensor): Tensor {
  const single = data instanceof Float32Array ? data : Float32Array.from(data);
  if (like.dtype === "float16") return tensor("float16", like.shape, float32ToFloat16(single));
  if (like.dtype === "bfloat16") return tensor("bfloat16", like.shape, float32ToBfloat16(single));
  return tensor("float32", like.shape, single);
}

/**
 * Writes base + adapter to `out`. Half-precision weights are rounded once, at the end.
 * @param tensors parameters and frozen tensors of the adapter
 * @throws FedtuneError("model") where the method cannot be merged, or changes an output embedding that is tied to the input embedding
 */
export function exportMerged(options: { readonly modelFolder: string; readonly out: string }, model: ArchitectureModel, adapter: BoundAdapter, tensors: NamedTensors<"float32">): void {
  const { modelFolder, out } = options;
  const checkpoint = openCheckpoint(modelFolder);
  if (resolve(out) === resolve(modelFolder)) throw new FedtuneError("config", { where: "export", expected: "a folder other than the model's own", got: out, remedy: "Give another --out" });
  const { merge } = adapter;
  if (typeof merge !== "function") throw new FedtuneError("model", { where: "export", expected: "an adapter that can be folded into weights", got: merge.none, remedy: "Export the adapter in PEFT's format instead" });
  if (adapter.changesHead && adapter.keepsTies !== true && model.tied.has(`${model.head.path}.weight`)) {
    throw new FedtuneError("model", { where: model.head.path, expected: "an output embedding of its own", got: "one tied to the input embedding", remedy: "Export the adapter in PEFT's format instead" });
  }
  ensureWritableFolder(out);
  const known = new Set(model.tensors.flatMap(({ parts }) => parts.map(({ name }) => name)));
  const values = (name: string): Float32Array => must(tensors.get(name), name).data;
  for (const file of checkpoint.files) {
    const names = [...file.tensors.keys()];
    const declarations = names.map((name) => ({ name, dtype: checkpoint.entry(name).dtype, shape: checkpoint.entry(name).shape }));
    using writer = createSafetensorsWriter(join(out, basename(file.path)), declarations, { metadata: { format: "pt" } });
    for (const name of names) {
      // A file may repeat a tensor that is tied to another.
      const own = modelNames(model, name).map((n) => (adapter.keepsTies === true ? (model.tied.get(n) ?? n) : n)).find((n) => known.has(n));
      const original = checkpoint.read(name);
      const merged = own === undefined ? undefined : merge({ name: own, shape: original.shape, base: checkpoint.readFloat32(name).data, values });
      writer.write(name, merged === undefined ? original : narrow(merged, original));
    }
    writer.finish();
  }
  for (const name of OTHER_FILES) {
    if (existsSync(join(modelFolder, name))) copyFileSync(join(modelFolder, name), join(out, name));
  }
}
