/** A content-addressed store in a folder: bytes under the name of their SHA-256. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FedtuneError } from "../base/errors.ts";
import { fileErrorCode, withFileErrors } from "../base/file-errors.ts";
import { sha256 } from "../base/hash.ts";
import type { NamedTensors } from "../base/tensor.ts";
import { decodeSafetensors } from "../formats/safetensors.ts";
import { encodeSafetensors } from "../formats/safetensors-writer.ts";
import { ensureWritableFolder, writeFileAtomic } from "./files.ts";

export interface BlobStore {
  readonly folder: string;
  /** Stores bytes and returns their SHA-256 in hexadecimal; durable on return. Throws FedtuneError("resources"). */
  putBlob(bytes: Uint8Array): string;
  /** The bytes of a hash. Throws FedtuneError("data") naming the file where it is missing or its bytes do not have that hash. */
  getBlob(hash: string): Uint8Array;
  hasBlob(hash: string): boolean;
  /** Stores tensors as the bytes of a safetensors file: equal tensors, in whatever order, have one hash. */
  putTensors(tensors: NamedTensors): string;
  /** Tensors of a hash, errors as `getBlob`; and FedtuneError("model") where the blob is not safetensors. */
  getTensors(hash: string): NamedTensors;
}

/** Opens, and makes where it lacks, a blob store. Throws FedtuneError("resources") where the folder cannot be written. */
export function openBlobs(folder: string): BlobStore {
  ensureWritableFolder(folder);
  const pathOf = (hash: string): string => {
    if (!/^[0-9a-f]{64}$/.test(hash)) throw new FedtuneError("data", { where: folder, expected: "a SHA-256 in hexadecimal", got: JSON.stringify(hash) });
    return join(folder, hash);
  };
  const putBlob = (bytes: Uint8Array): string => {
    const hash = sha256(bytes);
    const path = pathOf(hash);
    // A damaged blob of this name is replaced; the comparison costs less than the write that it saves.
    if (existsSync(path) && sha256(readFileSync(path)) === hash) return hash;
    writeFileAtomic(path, bytes);
    return hash;
  };
  const getBlob = (hash: string): Uint8Array => {
    const path = pathOf(hash);
    let bytes: Uint8Array;
    try {
      bytes = withFileErrors(path, "a stored blob", () => readFileSync(path));
    } catch (error) {
      if (fileErrorCode(error instanceof Error ? error.cause : undefined) !== "ENOENT") throw error;
      throw new FedtuneError("data", { where: path, expected: "a stored blob", got: "no such file", remedy: "The run is incomplete: restore the file from a copy, or start the run anew", cause: error });
    }
    const actual = sha256(bytes);
    if (actual === hash) return bytes;
    throw new FedtuneError("data", { where: path, expected: `bytes with the SHA-256 ${hash.slice(0, 12)}…`, got: `${bytes.byteLength} bytes with ${actual.slice(0, 12)}…`, remedy: "The file is damaged: restore it from a copy, or start the run anew" });
  };
  return {
    folder,
    putBlob,
    getBlob,
    hasBlob: (hash) => existsSync(pathOf(hash)),
    putTensors: (tensors) => putBlob(encodeSafetensors(tensors)),
    getTensors: (hash) => decodeSafetensors(getBlob(hash), pathOf(hash)).tensors,
  };
}
