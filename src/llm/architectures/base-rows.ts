/**
 * A tensor of the base as a stream of rows: read from the checkpoint piece by piece into one buffer of bounded size, as often as
 * wanted. What is made of the rows is left to others.
 */
import { elementCount } from "../../core/base/tensor.ts";
import type { Checkpoint } from "../../core/formats/checkpoint.ts";
import { checkpointName, type CheckpointNaming } from "./architecture.ts";
import type { BaseRows } from "./round-rows.ts";
import type { BaseTensor } from "./sites.ts";

/** Bytes of float32 values that are held at once. */
const CHUNK_BYTES = 8 << 20;

/** Makes streams of rows that share one buffer: one at a time may be read. A row longer than the buffer gets one of its own. */
export function createRowReader(checkpoint: Checkpoint, model: CheckpointNaming): (base: BaseTensor) => BaseRows {
  let buffer = new Float32Array(0);
  return ({ shape, parts }) => {
    const columns = elementCount(shape.slice(1));
    const rowsAtOnce = Math.max(1, Math.floor(CHUNK_BYTES / (4 * Math.max(1, columns))));
    return {
      rows: shape[0] ?? 1,
      columns,
      *chunks() {
        let first = 0;
        for (const part of parts) {
          for (let done = 0; done < part.rows; done += rowsAtOnce) {
            const count = Math.min(rowsAtOnce, part.rows - done);
            if (buffer.length < count * columns) buffer = new Float32Array(Math.max(count * columns, Math.min(CHUNK_BYTES / 4, rowsAtOnce * columns)));
            const values = buffer.subarray(0, count * columns);
            checkpoint.readFloat32Into(checkpointName(checkpoint, model, part.name), done * columns, values);
            yield { first, count, values };
            first += count;
          }
        }
      },
    };
  };
}
