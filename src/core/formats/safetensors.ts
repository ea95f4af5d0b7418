/** Reads safetensors files: the header alone, one tensor, or all of a small file. What the tensors mean is left to others. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { didYouMean, FedtuneError } from "../base/errors.ts";
import { fileError, fileErrorCode } from "../base/file-errors.ts";
import { tensor, viewBytes, type NamedTensors, type Tensor } from "../base/tensor.ts";
import { LENGTH_BYTES, MAX_HEADER_BYTES, parseHeader, type SafetensorsMetadata, type TensorEntry } from "./safetensors-header.ts";

/** A safetensors file whose header is read and checked; its data stays on the disk. */
export interface SafetensorsFile {
  readonly path: string;
  /** Byte offset of the data in the file. */
  readonly dataStart: number;
  readonly metadata: SafetensorsMetadata;
  /** By name, in the header's order. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
}

export interface SafetensorsContent {
  readonly tensors: NamedTensors;
  readonly metadata: SafetensorsMetadata;
}

/** One read call takes at most 2^31 − 1 bytes. */
const READ_BYTES = 1 << 30;

/** What a file is that is not safetensors, by its first bytes. */
const MISTAKEN: readonly { readonly magic: string; readonly got: string; readonly remedy: string }[] = [
  { magic: "PK\x03\x04", got: "a PyTorch file with pickled code", remedy: "Convert it in Python: safetensors.torch.save_file(torch.load(path, weights_only=True), out)" },
  { magic: "\x80\x02", got: "a pickled Python file", remedy: "Convert it in Python: safetensors.torch.save_file(torch.load(path, weights_only=True), out)" },
  { magic: "version ", got: "the pointer of a Git LFS file", remedy: "Fetch the data itself: git lfs pull" },
  { magic: "GGUF", got: "a GGUF file", remedy: "Use the model's safetensors files" },
];

function readInto(fd: number, out: Uint8Array, position: number): number {
  let done = 0;
  while (done < out.byteLength) {
    const count = readSync(fd, out, done, Math.min(READ_BYTES, out.byteLength - done), position + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}

/** A path that leads to no file is a wrong model or adapter; anything else is the machine's trouble. */
function unreadable(error: unknown, path: string): FedtuneError {
  const code = fileErrorCode(error);
  if (code !== "ENOENT" && code !== "ENOTDIR" && code !== "EISDIR") return fileError(error, path, "a safetensors file that can be read");
  return new FedtuneError("model", { where: path, expected: "a safetensors file", got: code === "EISDIR" ? "a folder" : "no such file", remedy: "Check the path", cause: error });
}

function withOpenFile<T>(path: string, use: (fd: number) => T): T {
  let fd: number | undefined;
  try {
    fd = openSync(path, "r");
    return use(fd);
  } catch (error) {
    throw error instanceof FedtuneError ? error : unreadable(error, path);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** The length of the header of a file (or of bytes) of `sizeBytes`, whose first bytes are `start`. */
function headerLength(path: string, start: Uint8Array, sizeBytes: number): number {
  const text = Buffer.from(start).toString("latin1");
  const mistaken = MISTAKEN.find(({ magic }) => text.startsWith(magic));
  if (mistaken !== undefined) throw new FedtuneError("model", { where: path, expected: "a safetensors file", got: mistaken.got, remedy: mistaken.remedy });
  if (start.byteLength < LENGTH_BYTES) {
    const got = sizeBytes === 0 ? "an empty file" : `${sizeBytes} bytes`;
    throw new FedtuneError("model", { where: path, expected: "a safetensors file", got, remedy: "The file is damaged or unfinished: fetch or write it again" });
  }
  const length = new DataView(start.buffer, start.byteOffset).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new FedtuneError("model", { where: path, expected: `a safetensors header of at most ${MAX_HEADER_BYTES} bytes`, got: `a header length of ${length} bytes`, remedy: "Check that this is a safetensors file, from a source that you trust" });
  }
  if (length > BigInt(sizeBytes - LENGTH_BYTES)) {
    throw new FedtuneError("model", { where: path, expected: `a file that holds its header of ${length} bytes`, got: `a file of ${sizeBytes} bytes`, remedy: "The file is damaged or unfinished: fetch or write it again" });
  }
  return Number(length);
}

/**
 * Reads and checks the header of a safetensors file; nothing larger than the header is allocated.
 * @throws FedtuneError("model") for no file or one that is not sound safetensors, naming file and tensor; ("resources") where it cannot be read
 */
export function readSafetensorsHeader(path: string): SafetensorsFile {
  return withOpenFile(path, (fd) => {
    const sizeBytes = fstatSync(fd).size;
    const start = new Uint8Array(Math.min(LENGTH_BYTES, sizeBytes));
    readInto(fd, start, 0);
    const header = new Uint8Array(headerLength(path, start, sizeBytes));
    readInto(fd, header, LENGTH_BYTES);
    return { path, dataStart: LENGTH_BYTES + header.byteLength, ...parseHeader(path, header, sizeBytes) };
  });
}

/** The entry of a tensor. Throws FedtuneError("model") where the file has none of that name. */
function entryOf(file: SafetensorsFile, name: string): TensorEntry {
  const entry = file.tensors.get(name);
  if (entry !== undefined) return entry;
  throw new FedtuneError("model", {
    where: file.path,
    expected: `a tensor ${JSON.stringify(name)}`,
    got: `${file.tensors.size} others`,
    remedy: didYouMean(name, file.tensors.keys()) || "Check that the file belongs to this model",
    details: { path: file.path, tensor: name },
  });
}

function cutShort({ path }: SafetensorsFile, name: string, { expected, got }: { readonly expected: number; readonly got: number }): FedtuneError {
  return new FedtuneError("model", { where: `${path}: tensor ${JSON.stringify(name)}`, expected: `${expected} bytes`, got: `${got} bytes`, remedy: "The file was cut short while in use: fetch or write it again" });
}

function readFrom(fd: number, file: SafetensorsFile, name: string): Tensor {
  const { dtype, shape, start, end } = entryOf(file, name);
  const bytes = new Uint8Array(end - start);
  const count = readInto(fd, bytes, start);
  if (count !== bytes.byteLength) throw cutShort(file, name, { expected: bytes.byteLength, got: count });
  return tensor(dtype, shape, viewBytes(dtype, bytes));
}

/** Reads one tensor. Throws FedtuneError("model") for a name that the file lacks or a file that was cut short since its header was read. */
export function readTensor(file: SafetensorsFile, name: string): Tensor {
  return withOpenFile(file.path, (fd) => readFrom(fd, file, name));
}

/**
 * Fills `out` with the bytes of a tensor from byte `from` of its data on. For tensors that are read piece by piece; errors as `readTensor`,
 * an internal one where the piece is not inside the tensor.
 */
export function readTensorBytes(file: SafetensorsFile, name: string, { from, out }: { readonly from: number; readonly out: Uint8Array }): void {
  const { start, end } = entryOf(file, name);
  if (from < 0 || start + from + out.byteLength > end) throw new Error(`safetensors: ${name} has ${end - start} bytes, asked for ${out.byteLength} from ${from}`);
  const count = withOpenFile(file.path, (fd) => readInto(fd, out, start + from));
  if (count !== out.byteLength) throw cutShort(file, name, { expected: out.byteLength, got: count });
}

/** Reads all tensors, in the header's order. For files that fit in memory; errors as `readSafetensorsHeader`. */
export function readSafetensors(path: string): SafetensorsContent {
  const file = readSafetensorsHeader(path);
  const tensors = withOpenFile(path, (fd) => new Map([...file.tensors.keys()].map((name) => [name, readFrom(fd, file, name)])));
  return { tensors, metadata: file.metadata };
}

/** Decodes safetensors bytes, named `where` in errors. Tensors are views of `bytes` where its alignment allows. */
export function decodeSafetensors(bytes: Uint8Array, where: string): SafetensorsContent {
  const length = headerLength(where, bytes.subarray(0, LENGTH_BYTES), bytes.byteLength);
  const { metadata, tensors: entries } = parseHeader(where, bytes.subarray(LENGTH_BYTES, LENGTH_BYTES + length), bytes.byteLength);
  const tensors = new Map([...entries].map(([name, { dtype, shape, start, end }]) => [name, tensor(dtype, shape, viewBytes(dtype, bytes.subarray(start, end)))]));
  return { tensors, metadata };
}
