/**
 * The header of a safetensors file: parsed, checked before anything is allocated by what it says, and written
 * in the Python library's layout. Reading and writing of data is left to `safetensors.ts` and `safetensors-writer.ts`.
 */
import { FedtuneError, messageOf } from "../base/errors.ts";
import { bytesPerElement, elementCount, formatShape, type DType } from "../base/tensor.ts";
import { scanHeader } from "./header-scan.ts";

/** One tensor in a file; `start` and `end` are absolute byte offsets in the file, `end` exclusive. */
export interface TensorEntry {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

/** A tensor that is to be written: its name, dtype and shape. */
export interface TensorDeclaration {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export type SafetensorsMetadata = Readonly<Record<string, string>>;

/** Bytes before the header: its length as an unsigned 64-bit little-endian integer. */
export const LENGTH_BYTES = 8;
/** The Python library's limit on the header. */
export const MAX_HEADER_BYTES = 100_000_000;
/** Header, entry, shape. */
const MAX_HEADER_DEPTH = 3;

const DOWNLOAD_AGAIN = "The file is damaged or unfinished: fetch or write it again";
const HOSTILE = "Do not use this file: fetch it again from a source that you trust";

const BY_NAME: ReadonlyMap<string, DType> = new Map([
  ["F64", "float64"], ["F32", "float32"], ["F16", "float16"], ["BF16", "bfloat16"], ["I64", "int64"], ["I32", "int32"],
  ["U8", "uint8"], ["I8", "int8"], ["BOOL", "bool"], ["U32", "uint32"], ["U64", "uint64"],
]);
const NAME_OF: ReadonlyMap<DType, string> = new Map([...BY_NAME].map(([name, dtype]) => [dtype, name]));

/** Order of dtypes in the Python library's files: wider first, in the descending order of its declaration. */
const WRITTEN_ORDER: readonly DType[] = ["uint64", "int64", "float64", "float32", "uint32", "int32", "bfloat16", "float16", "int8", "uint8", "bool"];

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

/** Parses the header's JSON; refuses what is not a JSON object, nests deeper than a header does, or names a tensor twice. */
function parseJson(path: string, header: Uint8Array): Record<string, unknown> {
  const scan = scanHeader(header, MAX_HEADER_DEPTH);
  if (scan.depth > MAX_HEADER_DEPTH) throw new FedtuneError("model", { where: path, expected: `a safetensors header nested ${MAX_HEADER_DEPTH} deep`, got: "deeper nesting", remedy: HOSTILE });
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let parsed: unknown;
  let names: string[];
  try {
    parsed = JSON.parse(decoder.decode(header));
    names = scan.keys.map(([start, end]) => String(JSON.parse(decoder.decode(header.subarray(start, end)))));
  } catch (error) {
    throw new FedtuneError("model", { where: path, expected: "a safetensors header of JSON", got: messageOf(error), remedy: DOWNLOAD_AGAIN, cause: error });
  }
  if (!isRecord(parsed)) throw new FedtuneError("model", { where: path, expected: "a safetensors header that is a JSON object", got: show(parsed), remedy: DOWNLOAD_AGAIN });
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) throw new FedtuneError("model", { where: `${path}: tensor ${show(name)}`, expected: "each name once", got: "the name twice", remedy: HOSTILE, details: { path, tensor: name } });
    seen.add(name);
  }
  return parsed;
}

function parseMetadata(path: string, value: unknown): SafetensorsMetadata {
  if (!isRecord(value)) throw new FedtuneError("model", { where: `${path}: __metadata__`, expected: "an object of texts", got: show(value), remedy: DOWNLOAD_AGAIN });
  const metadata: [string, string][] = [];
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") throw new FedtuneError("model", { where: `${path}: __metadata__.${key}`, expected: "a text", got: show(text), remedy: DOWNLOAD_AGAIN });
    metadata.push([key, text]);
  }
  return Object.fromEntries(metadata);
}

function parseEntry(path: string, name: string, value: unknown, dataStart: number): TensorEntry {
  const where = `${path}: tensor ${show(name)}`;
  const refuse = (expected: string, got: string, remedy: string): FedtuneError => new FedtuneError("model", { where, expected, got, remedy, details: { path, tensor: name } });
  if (!isRecord(value)) throw refuse("an object with dtype, shape and data_offsets", show(value), DOWNLOAD_AGAIN);
  const { dtype: dtypeName, shape, data_offsets: offsets } = value;
  const dtype = typeof dtypeName === "string" ? BY_NAME.get(dtypeName) : undefined;
  if (dtype === undefined) throw refuse(`a dtype among ${[...BY_NAME.keys()].join(", ")}`, show(dtypeName), "Convert the checkpoint to float32, float16 or bfloat16");
  if (!Array.isArray(shape) || !shape.every(isSize)) throw refuse("a shape of non-negative integers", show(shape), HOSTILE);
  const sizeBytes = elementCount(shape) * bytesPerElement(dtype);
  if (!isSize(sizeBytes)) throw refuse("a size that can be counted", `shape ${formatShape(shape)}`, HOSTILE);
  const pair: readonly unknown[] = Array.isArray(offsets) ? offsets : [];
  if (pair.length !== 2) throw refuse("data_offsets [begin, end]", show(offsets), DOWNLOAD_AGAIN);
  const [begin, end] = pair;
  if (!isSize(begin) || !isSize(end) || begin > end) throw refuse("data_offsets with 0 ≤ begin ≤ end", show(offsets), HOSTILE);
  if (end - begin !== sizeBytes) throw refuse(`${sizeBytes} bytes for ${dtype}${formatShape(shape)}`, `data_offsets ${show(offsets)} of ${end - begin} bytes`, HOSTILE);
  return { dtype, shape, start: dataStart + begin, end: dataStart + end };
}

/** Data lies end to end: nothing overlaps, nothing lies between, and the last byte is the file's last. */
function checkLayout(path: string, tensors: ReadonlyMap<string, TensorEntry>, dataStart: number, sizeBytes: number): void {
  const byPosition = [...tensors].sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
  let position = dataStart;
  let previous = "the header";
  for (const [name, { start, end }] of byPosition) {
    const where = `${path}: tensor ${show(name)}`;
    const details = { path, tensor: name };
    if (end > sizeBytes) {
      throw new FedtuneError("model", { where, expected: `data within the file's ${sizeBytes} bytes`, got: `data up to byte ${end}`, remedy: DOWNLOAD_AGAIN, details });
    }
    if (start !== position) {
      const got = start < position ? `data that overlaps ${previous}'s by ${position - start} bytes` : `a hole of ${start - position} bytes after ${previous}`;
      throw new FedtuneError("model", { where, expected: "data that begins where the tensor before it ends", got, remedy: HOSTILE, details });
    }
    position = end;
    previous = show(name);
  }
  if (position !== sizeBytes) {
    throw new FedtuneError("model", { where: path, expected: `a file of ${position} bytes, as its header says`, got: `${sizeBytes} bytes`, remedy: DOWNLOAD_AGAIN, details: { path } });
  }
}

/**
 * Parses and checks a header.
 * @param path named in errors
 * @param header the header's bytes, without the length before them
 * @param sizeBytes of the whole file
 * @throws FedtuneError("model") naming file and tensor, for JSON or UTF-8 that does not parse, an unknown dtype, a shape or
 *   offset that is negative, fractional or too large, a size that contradicts dtype and shape, data outside the file,
 *   overlaps, holes, and names given twice
 */
export function parseHeader(path: string, header: Uint8Array, sizeBytes: number): { metadata: SafetensorsMetadata; tensors: ReadonlyMap<string, TensorEntry> } {
  const parsed = parseJson(path, header);
  const dataStart = LENGTH_BYTES + header.byteLength;
  const tensors = new Map<string, TensorEntry>();
  let metadata: SafetensorsMetadata = {};
  for (const [name, value] of Object.entries(parsed)) {
    if (name === "__metadata__") metadata = parseMetadata(path, value);
    else tensors.set(name, parseEntry(path, name, value, dataStart));
  }
  checkLayout(path, tensors, dataStart, sizeBytes);
  return { metadata, tensors };
}

/** Declarations in the order in which the Python library writes them: dtype, wider first, then name by its UTF-8 bytes. */
export function sortAsPython<T extends TensorDeclaration>(declarations: readonly T[]): T[] {
  return declarations.toSorted((a, b) => WRITTEN_ORDER.indexOf(a.dtype) - WRITTEN_ORDER.indexOf(b.dtype) || Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
}

/**
 * The first bytes of a file that holds these tensors in this order: length and header, padded with spaces
 * so that the data starts at a multiple of `align` bytes. No metadata where the record is empty.
 */
export function encodeHeader(declarations: readonly TensorDeclaration[], metadata: SafetensorsMetadata, align = 8): Uint8Array {
  const header: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) header.push(["__metadata__", Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1)))]);
  let offset = 0;
  for (const { name, dtype, shape } of declarations) {
    const end = offset + elementCount(shape) * bytesPerElement(dtype);
    header.push([name, { dtype: NAME_OF.get(dtype), shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  // Written pair by pair: an object would move names that look like numbers to the front.
  const json = new TextEncoder().encode(`{${header.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(",")}}`);
  const dataStart = Math.ceil((LENGTH_BYTES + json.byteLength) / align) * align;
  const bytes = new Uint8Array(dataStart).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(dataStart - LENGTH_BYTES), true);
  bytes.set(json, LENGTH_BYTES);
  return bytes;
}
