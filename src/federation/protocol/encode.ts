/**
 * Messages as bytes: "FEDT", length of the header (unsigned 32-bit, little-endian), header as JSON, then the tensors as safetensors.
 * Every size is checked before anything is allocated; no code travels.
 */
import { z } from "zod";
import { FedtuneError, messageOf } from "../../core/base/errors.ts";
import { elementCount, type NamedTensors, type Tensor } from "../../core/base/tensor.ts";
import { decodeSafetensors } from "../../core/formats/safetensors.ts";
import { encodeHeader, sortAsPython } from "../../core/formats/safetensors-header.ts";
import { encodeSafetensors } from "../../core/formats/safetensors-writer.ts";
import { failureSchema, taskHeaderSchema, updateHeaderSchema, type Message } from "./messages.ts";

const MAGIC = Buffer.from("FEDT");
const PREFIX_BYTES = 8;
/** A header holds a handful of numbers and at most one reason. */
const MAX_HEADER_BYTES = 16_384;
/** Largest message accepted unless the caller says otherwise: 4 GiB. */
const DEFAULT_MAX_BYTES = 4 * 1024 ** 3;

const headerSchema = z.discriminatedUnion("kind", [taskHeaderSchema, updateHeaderSchema, failureSchema]);

/** Bytes that tensors take as safetensors, as they are sent. */
export function tensorBytes(tensors: NamedTensors<"float32">): number {
  const declarations = sortAsPython([...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape })));
  return encodeHeader(declarations, {}).byteLength + declarations.reduce((sum, { shape }) => sum + 4 * elementCount(shape), 0);
}

/** A message as bytes. */
export function encodeMessage(message: Message): Uint8Array {
  const { adapter, ...header } = message.kind === "failure" ? { ...message, adapter: undefined } : message;
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.byteLength);
  return Buffer.concat([MAGIC, length, json, adapter === undefined ? new Uint8Array() : encodeSafetensors(adapter)]);
}

/**
 * The message that `bytes` hold; `where` names the sender in errors.
 * @throws FedtuneError("federation") for anything that is not a sound message of at most `maxBytes`
 */
export function decodeMessage(bytes: Uint8Array, where: string, maxBytes: number = DEFAULT_MAX_BYTES): Message {
  const refuse = (expected: string, got: string, cause?: unknown): FedtuneError =>
    new FedtuneError("federation", { where, expected, got, remedy: "Check that both sides run the same version of fedtune", ...(cause === undefined ? {} : { cause }) });
  if (bytes.byteLength > maxBytes) throw refuse(`a message of at most ${maxBytes} bytes`, `${bytes.byteLength} bytes`);
  if (bytes.byteLength < PREFIX_BYTES || !MAGIC.equals(bytes.subarray(0, 4))) throw refuse("a fedtune message", `${bytes.byteLength} bytes of something else`);
  const headerBytes = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
  if (headerBytes > MAX_HEADER_BYTES || headerBytes > bytes.byteLength - PREFIX_BYTES) throw refuse("a header that fits into its message", `a header length of ${headerBytes} bytes`);
  const header = parseHeader(bytes.subarray(PREFIX_BYTES, PREFIX_BYTES + headerBytes), refuse);
  // A plain view: a Buffer's slice would share its memory where a copy is meant.
  const rest = new Uint8Array(bytes.buffer, bytes.byteOffset + PREFIX_BYTES + headerBytes, bytes.byteLength - PREFIX_BYTES - headerBytes);
  if (header.kind === "failure") {
    if (rest.byteLength > 0) throw refuse("a failure reply without tensors", `${rest.byteLength} bytes after it`);
    return header;
  }
  return { ...header, adapter: float32Only(decodeTensors(rest, where, refuse), refuse) };
}

type Refuse = (expected: string, got: string, cause?: unknown) => FedtuneError;

function parseHeader(bytes: Uint8Array, refuse: Refuse): z.infer<typeof headerSchema> {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (error) {
    throw refuse("a header in JSON", messageOf(error), error);
  }
  const parsed = headerSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw refuse("a task, update or failure", `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "something else"}`, parsed.error);
}

function decodeTensors(bytes: Uint8Array, where: string, refuse: Refuse): NamedTensors {
  try {
    return decodeSafetensors(bytes, where).tensors;
  } catch (error) {
    throw refuse("sound safetensors", messageOf(error), error);
  }
}

function float32Only(tensors: NamedTensors, refuse: Refuse): NamedTensors<"float32"> {
  const out = new Map<string, Tensor<"float32">>();
  for (const [name, { dtype, shape, data }] of tensors) {
    if (dtype !== "float32" || !(data instanceof Float32Array)) throw refuse(`float32 tensors`, `${name} in ${dtype}`);
    out.set(name, { dtype, shape, data });
  }
  return out;
}
