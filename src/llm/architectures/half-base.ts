/**
 * A base in half precision: its tensors narrowed for the prepared file, or the checkpoint's own files where they hold it already,
 * so that a model of N bytes needs no second file.
 */
import { realpathSync } from "node:fs";
import { basename, dirname } from "node:path";
import { FedtuneError } from "../../core/base/errors.ts";
import { bytesPerElement, isHalf, type ComputeDType, type HalfDType, type Tensor } from "../../core/base/tensor.ts";
import type { Checkpoint } from "../../core/formats/checkpoint.ts";
import { narrow } from "../../core/formats/half.ts";
import type { WeightFiles } from "../../engine/graph/weights.ts";
import { checkpointName, type ArchitectureModel } from "./architecture.ts";

/** Puts values of a weight into a dtype. Throws FedtuneError("model") where float16 cannot hold one. */
export type Narrower = (name: string, values: Float32Array) => Float32Array | Uint16Array;

/** What puts weights chunk by chunk into the dtype of a base: the chunk itself for float32, else one buffer that the next chunk takes over. */
export function createNarrower(dtype: ComputeDType): Narrower {
  if (!isHalf(dtype)) return (_name, values) => values;
  let buffer = new Uint16Array(0);
  return (name, values) => {
    if (buffer.length < values.length) buffer = new Uint16Array(values.length);
    const bits = narrow(values, dtype, buffer.subarray(0, values.length));
    if (dtype === "float16") refuseOverflow(name, values, bits);
    return bits;
  };
}

function refuseOverflow(name: string, values: Float32Array, bits: Uint16Array): void {
  const at = bits.findIndex((b, i) => (b & 0x7c00) === 0x7c00 && Number.isFinite(values[i]));
  if (at >= 0) throw new FedtuneError("model", { where: `weight ${name}`, expected: "values within float16's range of ±65,504", got: String(values[at]), remedy: "Run with runtime.compute=bfloat16 or float32" });
}

/**
 * The checkpoint's own files as weights, by the model's names; undefined where any tensor is of another dtype, does not begin at a
 * whole element, or lies in another folder than the rest. Tensors that a prepared base joins lie apart here.
 */
export function mapCheckpoint(checkpoint: Checkpoint, model: ArchitectureModel, dtype: HalfDType): WeightFiles | undefined {
  const places = new Map(model.tensors.flatMap(({ parts }) => parts.map(({ name }) => {
    const entry = checkpoint.entry(checkpointName(checkpoint, model, name));
    return [name, { ...entry, path: realpathSync(entry.path) }] as const;
  })));
  const folders = new Set([...places.values()].map(({ path }) => dirname(path)));
  const fits = [...places.values()].every((entry) => entry.dtype === dtype && entry.start % bytesPerElement(dtype) === 0);
  const [folder] = folders;
  if (!fits || folder === undefined || folders.size > 1) return undefined;
  return {
    folder,
    locate(name) {
      const place = places.get(name);
      if (place === undefined) throw new Error(`weight ${name} is not in the checkpoint ${checkpoint.folder}`);
      return { file: basename(place.path), offset: place.start, length: place.end - place.start };
    },
  };
}

/** The dtype that most of a checkpoint's elements that a model uses have. */
export function commonDtype(checkpoint: Checkpoint, model: ArchitectureModel): Tensor["dtype"] {
  const bytes = new Map<Tensor["dtype"], number>();
  for (const { parts } of model.tensors) {
    for (const { name } of parts) {
      const { dtype, start, end } = checkpoint.entry(checkpointName(checkpoint, model, name));
      bytes.set(dtype, (bytes.get(dtype) ?? 0) + (end - start) / bytesPerElement(dtype));
    }
  }
  return [...bytes].reduce<readonly [Tensor["dtype"], number]>((best, next) => (next[1] > best[1] ? next : best), ["float32", 0])[0];
}
