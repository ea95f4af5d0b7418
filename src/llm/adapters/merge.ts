/** Folds an adapter into its base: a model folder that needs no adapter, in the checkpoint's own dtypes; and takes it out again. */
import { resolve } from "node:path";
import { FedtuneError, must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { NamedTensors, Tensor } from "../../core/base/tensor.ts";
import { openCheckpoint, type Checkpoint } from "../../core/formats/checkpoint.ts";
import { float32ToBfloat16, float32ToFloat16 } from "../../core/formats/half.ts";
import { checkpointName, modelNames, type ArchitectureModel } from "../architectures/architecture.ts";
import type { BoundAdapter, MergeRule } from "./adapter.ts";
import { copyModelFolder } from "./model-folder.ts";

export interface MergeFolders {
  readonly modelFolder: string;
  readonly out: string;
}

function narrow(data: Float64Array | Float32Array, like: Tensor): Tensor {
  const single = data instanceof Float32Array ? data : Float32Array.from(data);
  if (like.dtype === "float16") return tensor("float16", like.shape, float32ToFloat16(single));
  if (like.dtype === "bfloat16") return tensor("bfloat16", like.shape, float32ToBfloat16(single));
  return tensor("float32", like.shape, single);
}

/** A tensor of the checkpoint as a rule makes it, by its name in the model; as it is where the rule leaves it alone. */
type ChangedTensor = (name: string, original: Tensor, base: () => Float32Array) => Tensor;

/** The output embedding, where it is tied to the input embedding and a rule makes the two differ. */
function untiedHead(checkpoint: Checkpoint, model: ArchitectureModel, changed: ChangedTensor): Tensor | undefined {
  const head = `${model.head.path}.weight`;
  const shared = model.tied.get(head);
  if (shared === undefined) return undefined;
  const name = checkpointName(checkpoint, model, shared);
  const original = checkpoint.read(name);
  const of = (own: string): Tensor => changed(own, original, () => checkpoint.readFloat32(name).data);
  const [input, output] = [of(shared), of(head)];
  return input === output || input.data.every((x, i) => x === output.data[i]) ? undefined : output;
}

/** Writes a model folder whose weights are changed by a rule, half precision rounded once, at the end. */
function writeChanged({ modelFolder, out }: MergeFolders, model: ArchitectureModel, options: { readonly rule: MergeRule; readonly keepsTies: boolean; readonly values: NamedTensors<"float32"> }): void {
  const checkpoint = openCheckpoint(modelFolder);
  if (resolve(out) === resolve(modelFolder)) throw new FedtuneError("config", { where: "export", expected: "a folder other than the model's own", got: out, remedy: "Give another --out" });
  const values = (name: string): Float32Array => must(options.values.get(name), name).data;
  const changed: ChangedTensor = (name, original, base) => {
    const data = options.rule({ name, shape: original.shape, base: base(), values });
    return data === undefined ? original : narrow(data, original);
  };
  const known = new Set(model.tensors.flatMap(({ parts }) => parts.map(({ name }) => name)));
  const head = options.keepsTies ? undefined : untiedHead(checkpoint, model, changed);
  const ownHead = `${model.head.path}.weight`;
  const headName = model.checkpointNames?.get(ownHead) ?? ownHead;
  copyModelFolder({ checkpoint, out }, {
    tensor(name) {
      if (name === headName && head !== undefined) return head;
      // A file may repeat a tensor that is tied to another.
      const own = modelNames(model, name).map((n) => (options.keepsTies ? (model.tied.get(n) ?? n) : n)).find((n) => known.has(n));
      const original = checkpoint.read(name);
      return own === undefined ? original : changed(own, original, () => checkpoint.readFloat32(name).data);
    },
    ...(head === undefined || checkpoint.has(headName) ? {} : { added: { name: headName, tensor: head, beside: checkpointName(checkpoint, model, must(model.tied.get(ownHead), ownHead)) } }),
    ...(head === undefined ? {} : { config: { tie_word_embeddings: false } }),
  });
}

/**
 * Writes base + adapter to `out`. An output embedding that was tied to the input embedding and no longer equals it is written
 * as a weight of its own, with `tie_word_embeddings` false in config.json.
 * @param tensors parameters and frozen tensors of the adapter
 * @throws FedtuneError("model") where the method cannot be merged, ("config") where `out` is the model's own folder
 */
export function exportMerged(folders: MergeFolders, model: ArchitectureModel, adapter: BoundAdapter, tensors: NamedTensors<"float32">): void {
  const { merge } = adapter;
  if (typeof merge !== "function") throw new FedtuneError("model", { where: "export", expected: "an adapter that can be folded into weights", got: merge.none, remedy: "Export the adapter in PEFT's format instead" });
  writeChanged(folders, model, { rule: merge, keepsTies: adapter.keepsTies === true, values: tensors });
}

/**
 * Writes the base of a merged model: takes the adapter out of the weights of `modelFolder` again. Each weight comes back within
 * half a unit in the last place of its dtype for the merge and as much for this, at the larger of the two magnitudes; what the
 * adapter left alone, bit for bit. An output embedding that was untied stays a weight of its own.
 * @param model the merged model, as its own config describes it
 * @param tensors parameters and frozen tensors of the adapter that was merged
 * @throws FedtuneError("model") where the merged weights no longer tell what the base was
 */
export function exportUnmerged(folders: MergeFolders, model: ArchitectureModel, adapter: BoundAdapter, tensors: NamedTensors<"float32">): void {
  const { unmerge = { none: "a method whose change the merged weights and the adapter do not tell" } } = adapter;
  if (typeof unmerge !== "function") throw new FedtuneError("model", { where: "export", expected: "an adapter that was added to weights", got: unmerge.none, remedy: "Keep the base model's own folder" });
  writeChanged(folders, model, { rule: unmerge, keepsTies: adapter.keepsTies === true, values: tensors });
}
