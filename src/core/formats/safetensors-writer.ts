/** Writes safetensors files in the Python library's layout: from memory, or tensor after tensor or block by block for files larger than it. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { trackResource } from "../base/disposal.ts";
import { fileError, withFileErrors } from "../base/file-errors.ts";
import { bytesOf, bytesPerElement, elementCount, formatShape, sameShape, type NamedTensors, type Tensor, type TensorData } from "../base/tensor.ts";
import { encodeHeader, sortAsPython, type SafetensorsMetadata, type TensorDeclaration } from "./safetensors-header.ts";

/** A rectangle of a tensor that is seen as a matrix: its rows are the first axis, its columns all others. */
export interface TensorBlock {
  readonly row: number;
  readonly column: number;
  readonly rows: number;
  readonly columns: number;
  /** `[rows, columns]` in the tensor's dtype. */
  readonly data: TensorData;
}

/** Takes tensors whole in the declared order, or in blocks in any order; the file appears under its name only once it is finished. */
export interface SafetensorsWriter extends Disposable {
  /** Writes the next declared tensor. Throws an internal error where name, dtype or shape are not those declared. */
  write(name: string, tensor: Tensor): void;
  /** Writes a part of a declared tensor; each element is to be written once. Throws an internal error where it does not lie inside. */
  writeBlock(name: string, block: TensorBlock): void;
  /** Flushes the file to the disk and gives it its name. Throws an internal error where declared tensors are missing. */
  finish(): void;
}

export interface WriterOptions {
  readonly metadata?: SafetensorsMetadata;
  /** The data starts at a multiple of this many bytes (4096 for mapping); default 8, as the Python library has it. */
  readonly align?: number;
}

/** One write call takes at most 2^31 − 1 bytes. */
const WRITE_BYTES = 1 << 30;
const EXPECTED = "a safetensors file to write";

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  let done = 0;
  while (done < bytes.byteLength) done += writeSync(fd, bytes, done, Math.min(WRITE_BYTES, bytes.byteLength - done), position + done);
}

/** Where a declared tensor lies in the file, and how much of it is written. */
interface Slot extends TensorDeclaration {
  readonly start: number;
  readonly sizeBytes: number;
  writtenBytes: number;
}

function slotsOf(declarations: readonly TensorDeclaration[], dataStart: number): readonly Slot[] {
  let start = dataStart;
  return declarations.map((declared) => {
    const slot = { ...declared, start, sizeBytes: elementCount(declared.shape) * bytesPerElement(declared.dtype), writtenBytes: 0 };
    start += slot.sizeBytes;
    return slot;
  });
}

function declarationsOf(tensors: NamedTensors): TensorDeclaration[] {
  return sortAsPython([...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape })));
}

/**
 * Starts a safetensors file that holds `declarations` in this order. Memory: what is given.
 * Until `finish` the file is called `path` + ".partial"; disposing of an unfinished writer removes it.
 * @throws FedtuneError("resources") for a full disk or a path that cannot be written, here and in both methods
 */
export function createSafetensorsWriter(path: string, declarations: readonly TensorDeclaration[], options: WriterOptions = {}): SafetensorsWriter {
  const partial = `${path}.partial`;
  const fd = withFileErrors(path, EXPECTED, () => openSync(partial, "w"));
  const untrack = trackResource("safetensors writer");
  const header = encodeHeader(declarations, options.metadata ?? {}, options.align);
  const slots = slotsOf(declarations, header.byteLength);
  const byName = new Map(slots.map((slot) => [slot.name, slot]));
  let next = 0;
  let open = true;
  const close = (): void => {
    open = false;
    untrack();
    closeSync(fd);
  };
  const abandon = (): void => {
    if (!open) return;
    close();
    rmSync(partial, { force: true });
  };
  const attempt = (operation: () => void): void => {
    try {
      operation();
    } catch (error) {
      abandon();
      throw fileError(error, path, EXPECTED);
    }
  };
  attempt(() => writeAll(fd, header, 0));
  return {
    write(name, { dtype, shape, data }) {
      const declared = slots[next];
      if (declared === undefined || declared.name !== name || declared.dtype !== dtype || !sameShape(declared.shape, shape)) {
        const due = declared === undefined ? "no further tensor" : `${declared.name} ${declared.dtype}${formatShape(declared.shape)}`;
        throw new Error(`safetensors writer: ${due} is due, got ${name} ${dtype}${formatShape(shape)}`);
      }
      attempt(() => writeAll(fd, bytesOf(data), declared.start));
      declared.writtenBytes += declared.sizeBytes;
      next++;
    },
    writeBlock(name, { row, column, rows, columns, data }) {
      const slot = byName.get(name);
      const height = slot?.shape[0] ?? 1;
      const width = elementCount(slot?.shape.slice(1) ?? []);
      if (slot === undefined || row < 0 || column < 0 || row + rows > height || column + columns > width || data.length !== rows * columns || data.byteLength !== data.length * bytesPerElement(slot.dtype)) {
        throw new Error(`safetensors writer: ${name} ${slot === undefined ? "is not declared" : `${slot.dtype}${formatShape(slot.shape)} does not hold ${data.length} elements as ${rows} × ${columns} at ${row}, ${column}`}`);
      }
      const bytes = bytesOf(data);
      const size = bytesPerElement(slot.dtype);
      const place = (r: number): number => slot.start + ((row + r) * width + column) * size;
      attempt(() => {
        if (columns === width) return writeAll(fd, bytes, place(0));
        for (let r = 0; r < rows; r++) writeAll(fd, bytes.subarray(r * columns * size, (r + 1) * columns * size), place(r));
      });
      slot.writtenBytes += bytes.byteLength;
    },
    finish() {
      const missing = slots.find(({ sizeBytes, writtenBytes }) => writtenBytes !== sizeBytes);
      if (missing !== undefined) throw new Error(`safetensors writer: ${missing.name} is not yet written`);
      attempt(() => {
        fsyncSync(fd);
        renameSync(partial, path);
      });
      close();
    },
    [Symbol.dispose]: abandon,
  };
}

/** Writes tensors to a file, byte for byte as Python's `save_file` does. Throws FedtuneError("resources"). */
export function writeSafetensors(path: string, tensors: NamedTensors, metadata: SafetensorsMetadata = {}): void {
  const declarations = declarationsOf(tensors);
  using writer = createSafetensorsWriter(path, declarations, { metadata });
  for (const { name } of declarations) {
    const tensor = tensors.get(name);
    if (tensor !== undefined) writer.write(name, tensor);
  }
  writer.finish();
}

/** The bytes of a safetensors file, as `writeSafetensors` writes it. */
export function encodeSafetensors(tensors: NamedTensors, metadata: SafetensorsMetadata = {}): Uint8Array {
  const declarations = declarationsOf(tensors);
  const parts = [encodeHeader(declarations, metadata)];
  for (const { name } of declarations) {
    const tensor = tensors.get(name);
    if (tensor !== undefined) parts.push(bytesOf(tensor.data));
  }
  return Buffer.concat(parts);
}
