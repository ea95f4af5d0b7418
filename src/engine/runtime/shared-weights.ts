/**
 * Weights in memory that threads share. Each session that maps a file counts its pages as resident once more; sessions that are
 * fed the same shared memory count it once. In return the memory is the process's own: the system cannot drop and read it again.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { FedtuneError, must } from "../../core/base/errors.ts";
import { withFileErrors } from "../../core/base/file-errors.ts";
import { elementCount, tensor, viewBytes, type Tensor } from "../../core/base/tensor.ts";
import type { Graph } from "../graph/types.ts";
import type { WeightFiles } from "../graph/weights.ts";
import { isFeedable } from "./resident.ts";

/** Bytes of one read: files may be larger than one call takes. */
const READ_BYTES = 2 ** 28;

/** Memory for a file. */
function sharedBytes(size: number, path: string): Uint8Array {
  try {
    return new Uint8Array(new SharedArrayBuffer(size));
  } catch (cause) {
    throw new FedtuneError("resources", { where: path, expected: `${Math.ceil(size / 1e6)} MB of memory for the base, which sessions at the same time share`, got: cause instanceof Error ? cause.message : String(cause), remedy: "Set runtime.data_parallel=1 in a new run: one session maps the file", cause });
  }
}

/** A file whole, in memory that can be sent to other threads without a copy. */
function readShared(path: string): Uint8Array {
  return withFileErrors(path, "the prepared base", () => {
    const file = openSync(path, "r");
    try {
      const bytes = sharedBytes(fstatSync(file).size, path);
      for (let at = 0; at < bytes.length; ) {
        const read = readSync(file, bytes, at, Math.min(READ_BYTES, bytes.length - at), at);
        if (read === 0) throw new FedtuneError("model", { where: path, expected: `${bytes.length} bytes`, got: `${at}`, remedy: "The file changed while it was read: start again" });
        at += read;
      }
      return bytes;
    } finally {
      closeSync(file);
    }
  });
}

/** Weights that a node reads without anything that is fed: onnxruntime computes such nodes once, when a session opens, if it knows their weights. */
function foldedWeights({ nodes, weights, constants }: Graph): ReadonlySet<number> {
  const frozen = new Set([...weights, ...constants].map(({ id }) => id));
  return new Set(nodes.filter(({ inputs }) => inputs.every((id) => frozen.has(id))).flatMap(({ inputs }) => inputs));
}

/** A base's files in shared memory, each read when a graph first needs it. */
export class SharedWeights {
  readonly #files: WeightFiles;
  readonly #read = new Map<string, Uint8Array>();

  constructor(files: WeightFiles) {
    this.#files = files;
  }

  #bytes(file: string): Uint8Array {
    const bytes = this.#read.get(file) ?? readShared(join(this.#files.folder, file));
    this.#read.set(file, bytes);
    return bytes;
  }

  /** The weights of a graph that can be fed, by name; the others (of a dtype that cannot, or that onnxruntime folds) are to be mapped. */
  of(graph: Graph): Readonly<Record<string, Tensor>> {
    const folded = foldedWeights(graph);
    const fed: Record<string, Tensor> = {};
    for (const { id, name } of graph.weights) {
      const { dtype, shape } = must(graph.values[id], name);
      if (folded.has(id) || !isFeedable(dtype)) continue;
      const { file, offset, length } = this.#files.locate(name);
      const dims = shape.map(Number);
      const data = viewBytes(dtype, this.#bytes(file).subarray(offset, offset + length));
      if (data.length !== elementCount(dims)) throw new Error(`weight ${name}: expected ${elementCount(dims)} elements, got ${data.length}`);
      fed[name] = tensor(dtype, dims, data);
    }
    return fed;
  }
}
