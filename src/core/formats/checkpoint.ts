/**
 * The weights of a Hugging Face model folder: one `model.safetensors`, or several with an index.
 * Which tensors a model needs, and of which shape, is left to the architectures.
 */
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { basename, dirname, isAbsolute, join, sep } from "node:path";
import { z } from "zod";
import { didYouMean, FedtuneError, messageOf } from "../base/errors.ts";
import { withFileErrors } from "../base/file-errors.ts";
import { bytesPerElement, tensor, type DType, type Tensor } from "../base/tensor.ts";
import { bfloat16ToFloat32, float16ToFloat32 } from "./half.ts";
import { readSafetensorsHeader, readTensor, readTensorBytes, type SafetensorsFile } from "./safetensors.ts";
import type { TensorEntry } from "./safetensors-header.ts";

/** Where a tensor lies: `path` is the file, `start` and `end` absolute byte offsets in it. */
export interface CheckpointEntry extends TensorEntry {
  readonly path: string;
}

export interface Checkpoint {
  readonly folder: string;
  readonly files: readonly SafetensorsFile[];
  /** Every tensor's name, file by file. */
  readonly names: readonly string[];
  has(name: string): boolean;
  /** Throws FedtuneError("model") for a name that the checkpoint lacks, as do both `read` functions. */
  entry(name: string): CheckpointEntry;
  /** Reads one tensor in the dtype of its file. */
  read(name: string): Tensor;
  /** Reads one tensor as float32: F16 and BF16 widened, F64 rounded. Throws FedtuneError("model") for integers. */
  readFloat32(name: string): Tensor<"float32">;
  /** Fills `out` with the elements of a tensor from element `from` on, as float32; without memory besides, but for F64. Errors as `readFloat32`. */
  readFloat32Into(name: string, from: number, out: Float32Array<ArrayBuffer>): void;
}

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** The real path of a file of the folder; the Hub's cache keeps its files as links to `blobs/` beside `snapshots/`. */
function fileInside(folder: string, name: string, where: string): string {
  const refuse = (got: string): FedtuneError =>
    new FedtuneError("model", { where, expected: "weight files inside the model's folder", got, remedy: "Put the files themselves into the folder, and trust its source before you use it" });
  if (isAbsolute(name) || name.split(/[/\\]/).some((part) => part === ".." || part === "")) throw refuse(JSON.stringify(name));
  const path = join(folder, name);
  if (!existsSync(path)) throw new FedtuneError("model", { where, expected: `a file ${JSON.stringify(name)} in ${folder}`, got: "none", remedy: "Fetch the missing file" });
  const root = realpathSync(folder);
  const roots = basename(dirname(root)) === "snapshots" ? [root, join(dirname(dirname(root)), "blobs")] : [root];
  const real = realpathSync(path);
  if (!roots.some((allowed) => real.startsWith(allowed + sep))) throw refuse(`${JSON.stringify(name)}, a link to ${real}`);
  return path;
}

function readIndex(folder: string): ReadonlyMap<string, string> {
  const path = join(folder, INDEX);
  const text = withFileErrors(path, "an index of weights", () => readFileSync(path, "utf8"));
  try {
    return new Map(Object.entries(indexSchema.parse(JSON.parse(text)).weight_map));
  } catch (error) {
    const got = error instanceof z.ZodError ? z.prettifyError(error).replaceAll("\n", "; ") : messageOf(error);
    throw new FedtuneError("model", { where: path, expected: "JSON with a weight_map of file names by tensor", got, remedy: "Fetch the file again", cause: error });
  }
}

function openSharded(folder: string): SafetensorsFile[] {
  const where = join(folder, INDEX);
  const weightMap = readIndex(folder);
  const files = new Map([...new Set(weightMap.values())].map((name) => [name, readSafetensorsHeader(fileInside(folder, name, where))]));
  const home = new Map<string, string>();
  for (const [fileName, file] of files) {
    for (const name of file.tensors.keys()) {
      const other = home.get(name);
      if (other !== undefined) throw new FedtuneError("model", { where, expected: `tensor ${JSON.stringify(name)} in one file`, got: `it in ${other} and in ${fileName}`, remedy: "Fetch or save the checkpoint again" });
      home.set(name, fileName);
    }
  }
  for (const [name, fileName] of weightMap) {
    const actual = home.get(name);
    if (actual === fileName) continue;
    throw new FedtuneError("model", { where, expected: `tensor ${JSON.stringify(name)} in ${fileName}`, got: actual === undefined ? "no such tensor" : `it in ${actual}`, remedy: "Fetch or save the checkpoint again" });
  }
  return [...files.values()];
}

function refuseWithoutWeights(folder: string): FedtuneError {
  if (!existsSync(folder)) return new FedtuneError("model", { where: folder, expected: "a model's folder", got: "no such folder", remedy: "Check the path" });
  const names = withFileErrors(folder, "a model's folder", () => readdirSync(folder));
  const pickled = names.find((name) => /^pytorch_model.*\.bin$/.test(name));
  return new FedtuneError("model", {
    where: folder,
    expected: `weights in ${SINGLE} or ${INDEX}`,
    got: pickled === undefined ? `neither (${names.slice(0, 5).join(", ") || "an empty folder"})` : `only ${pickled}, whose pickled code fedtune does not run`,
    remedy: pickled === undefined ? "Name the folder of a Hugging Face model, or its Hub id" : "Convert it in Python: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(out)",
  });
}

/** float32 data of a floating tensor; `where` names it in errors. */
function toFloat32({ dtype, shape, data }: Tensor, where: string): Tensor<"float32"> {
  if (dtype === "float32" && data instanceof Float32Array) return { dtype, shape, data };
  if (dtype === "float16" && data instanceof Uint16Array) return tensor("float32", shape, float16ToFloat32(data));
  if (dtype === "bfloat16" && data instanceof Uint16Array) return tensor("float32", shape, bfloat16ToFloat32(data));
  if (dtype === "float64" && data instanceof Float64Array) return tensor("float32", shape, Float32Array.from(data));
  throw notFloating(dtype, where);
}

function notFloating(dtype: DType, where: string): FedtuneError {
  return new FedtuneError("model", { where, expected: "a floating dtype", got: dtype, remedy: "Use a checkpoint that is not quantised" });
}

/** A piece of a floating tensor as float32: half precision is read into the end of `out` and widened from the front. */
function readPiece(file: SafetensorsFile, name: string, { from, out, dtype }: { readonly from: number; readonly out: Float32Array<ArrayBuffer>; readonly dtype: DType }): void {
  const size = bytesPerElement(dtype);
  const [first, length] = [from * size, out.length * size];
  const read = (bytes: Uint8Array): void => readTensorBytes(file, name, { from: first, out: bytes });
  switch (dtype) {
    case "float32":
      return read(new Uint8Array(out.buffer, out.byteOffset, length));
    case "float16":
    case "bfloat16": {
      const half = new Uint16Array(out.buffer, out.byteOffset + length, out.length);
      read(new Uint8Array(half.buffer, half.byteOffset, length));
      (dtype === "float16" ? float16ToFloat32 : bfloat16ToFloat32)(half, out);
      return;
    }
    case "float64": {
      const wide = new Float64Array(out.length);
      read(new Uint8Array(wide.buffer));
      return out.set(wide);
    }
    default:
      throw notFloating(dtype, `${file.path}: tensor ${JSON.stringify(name)}`);
  }
}

/**
 * Opens the weights of a model's folder; headers are read and checked, data stays on the disk.
 * @throws FedtuneError("model") for a folder without safetensors weights, an index that leads out of the folder or contradicts
 *   its files, or a file that is not sound; ("resources") where the folder cannot be read
 */
export function openCheckpoint(folder: string): Checkpoint {
  let files: SafetensorsFile[];
  if (existsSync(join(folder, SINGLE))) files = [readSafetensorsHeader(fileInside(folder, SINGLE, folder))];
  else if (existsSync(join(folder, INDEX))) files = openSharded(folder);
  else throw refuseWithoutWeights(folder);
  const homes = new Map(files.flatMap((file) => [...file.tensors.keys()].map((name) => [name, file] as const)));
  const locate = (name: string): { file: SafetensorsFile; entry: TensorEntry } => {
    const file = homes.get(name);
    const entry = file?.tensors.get(name);
    if (file !== undefined && entry !== undefined) return { file, entry };
    throw new FedtuneError("model", { where: folder, expected: `a tensor ${JSON.stringify(name)}`, got: `${homes.size} others`, remedy: didYouMean(name, homes.keys()) || "Check that config.json and weights belong together" });
  };
  const read = (name: string): Tensor => readTensor(locate(name).file, name);
  return {
    folder,
    files,
    names: [...homes.keys()],
    has: (name) => homes.has(name),
    entry: (name) => {
      const { file, entry } = locate(name);
      return { ...entry, path: file.path };
    },
    read,
    readFloat32Into: (name, from, out) => {
      const { file, entry } = locate(name);
      readPiece(file, name, { from, out, dtype: entry.dtype });
    },
    readFloat32: (name) => toFloat32(read(name), `${locate(name).file.path}: tensor ${JSON.stringify(name)}`),
  };
}
