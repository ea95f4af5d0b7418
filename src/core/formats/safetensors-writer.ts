/** Writes safetensors files in the Python library's layout: from memory, or tensor after tensor for files larger than it. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { trackResource } from "../base/disposal.ts";
import { fileError, withFileErrors } from "../base/file-errors.ts";
import { bytesOf, formatShape, sameShape, type NamedTensors, type Tensor } from "../base/tensor.ts";
import { encodeHeader, sortAsPython, type SafetensorsMetadata, type TensorDeclaration } from "./safetensors-header.ts";

/** Takes tensors one at a time, in the declared order; the file appears under its name only once it is finished. */
export interface SafetensorsWriter extends Disposable {
  /** Appends the next declared tensor. Throws an internal error where name, dtype or shape are not those declared. */
  write(name: string, tensor: Tensor): void;
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

function writeAll(fd: number, bytes: Uint8Array): void {
  let done = 0;
  while (done < bytes.byteLength) done += writeSync(fd, bytes, done, Math.min(WRITE_BYTES, bytes.byteLength - done));
}

function declarationsOf(tensors: NamedTensors): TensorDeclaration[] {
  return sortAsPython([...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape })));
}

/**
 * Starts a safetensors file that holds `declarations` in this order. Memory: one tensor's.
 * Until `finish` the file is called `path` + ".partial"; disposing of an unfinished writer removes it.
 * @throws FedtuneError("resources") for a full disk or a path that cannot be written, here and in both methods
 */
export function createSafetensorsWriter(path: string, declarations: readonly TensorDeclaration[], options: WriterOptions = {}): SafetensorsWriter {
  const partial = `${path}.partial`;
  const fd = withFileErrors(path, EXPECTED, () => openSync(partial, "w"));
  const untrack = trackResource("safetensors writer");
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
  attempt(() => writeAll(fd, encodeHeader(declarations, options.metadata ?? {}, options.align)));
  return {
    write(name, { dtype, shape, data }) {
      const declared = declarations[next];
      if (declared === undefined || declared.name !== name || declared.dtype !== dtype || !sameShape(declared.shape, shape)) {
        const due = declared === undefined ? "no further tensor" : `${declared.name} ${declared.dtype}${formatShape(declared.shape)}`;
        throw new Error(`safetensors writer: ${due} is due, got ${name} ${dtype}${formatShape(shape)}`);
      }
      attempt(() => writeAll(fd, bytesOf(data)));
      next++;
    },
    finish() {
      const missing = declarations[next];
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
