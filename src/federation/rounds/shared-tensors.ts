/** Tensors in shared memory, so that one adapter reaches every worker thread without a copy. Nobody may write to them. */
import { tensor, type NamedTensors } from "../../core/base/tensor.ts";

/** A copy in one SharedArrayBuffer, by name: the order in which a stored adapter is read, so that a resumed run sees the same. */
export function toSharedTensors(tensors: NamedTensors<"float32">): NamedTensors<"float32"> {
  const ordered = [...tensors].toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const buffer = new SharedArrayBuffer(ordered.reduce((sum, [, { data }]) => sum + data.byteLength, 0));
  let offset = 0;
  return new Map(
    ordered.map(([name, { shape, data }]) => {
      const shared = new Float32Array(buffer, offset, data.length);
      shared.set(data);
      offset += data.byteLength;
      return [name, tensor("float32", shape, shared)];
    }),
  );
}
