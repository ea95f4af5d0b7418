/**
 * Rounds a matrix that comes as a stream of rows, and hands the result on in blocks: memory is a chunk of rows, whatever the
 * matrix's size. Which tensors are rounded, and how they are called, is left to quantized-weights.ts.
 */
import type { TensorData } from "../../core/base/tensor.ts";
import type { TensorBlock } from "../../core/formats/safetensors-writer.ts";
import { BYTE_LIMIT, byteZero, type ByteDType } from "../../engine/graph/byte-weights.ts";
import { INT4_BLOCK } from "../../engine/graph/operations.ts";

/** Some rows `[count, columns]`, valid until the next ones are asked for. */
export interface RowChunk {
  readonly first: number;
  readonly count: number;
  readonly values: Float32Array;
}

/** A matrix that is read row by row: the first axis, and all others together. */
export interface BaseRows {
  readonly rows: number;
  readonly columns: number;
  /** All rows in their order, each call from the first again. */
  chunks(): Iterable<RowChunk>;
}

/** Takes blocks of one tensor. */
export type BlockSink = (block: TensorBlock) => void;

/** Where the bytes of a matrix go, each absent where it is not wanted. */
export interface ByteSinks {
  /** The matrix as it lies, `[rows, columns]`. */
  readonly asItLies?: BlockSink;
  /** Its transpose, `[columns, rows]`. */
  readonly turned?: BlockSink;
  /** Scales, one for each row or column. */
  readonly scales: BlockSink;
}

const vector = (data: TensorData): TensorBlock => ({ row: 0, column: 0, rows: data.length, columns: 1, data });

/** Largest magnitude of each row. */
function rowPeaks(values: Float32Array, columns: number, peaks: Float64Array): void {
  for (let r = 0; r < peaks.length; r++) {
    let largest = 0;
    for (let at = r * columns; at < (r + 1) * columns; at++) largest = Math.max(largest, Math.abs(values[at] ?? 0));
    peaks[r] = largest;
  }
}

/** Largest magnitude of each row and of each column, and the mean square of all elements, in a pass over all rows. */
export function magnitudesOf(source: BaseRows): { readonly rows: Float64Array; readonly columns: Float64Array; readonly meanSquare: number } {
  const { rows, columns } = source;
  const peaks = { rows: new Float64Array(rows), columns: new Float64Array(columns) };
  let squares = 0;
  for (const { first, values, count } of source.chunks()) {
    for (let r = 0; r < count; r++) {
      let largest = 0;
      for (let c = 0; c < columns; c++) {
        const magnitude = Math.abs(values[r * columns + c] ?? 0);
        largest = Math.max(largest, magnitude);
        squares += magnitude * magnitude;
        peaks.columns[c] = Math.max(peaks.columns[c] ?? 0, magnitude);
      }
      peaks.rows[first + r] = largest;
    }
  }
  return { ...peaks, meanSquare: squares / Math.max(1, rows * columns) };
}

/** Bytes by one scale for each row or each column: largest magnitude / 127 (Dettmers et al. 2022, section 3.1). */
export function roundToBytes(source: BaseRows, { dtype, scaleBy }: { readonly dtype: ByteDType; readonly scaleBy: "row" | "column" }, { asItLies, turned, scales }: ByteSinks): void {
  const { rows, columns } = source;
  const zero = byteZero(dtype);
  const known = scaleBy === "column" ? magnitudesOf(source).columns : undefined;
  const all = new Float32Array(scaleBy === "row" ? rows : columns);
  known?.forEach((peak, c) => (all[c] = peak / BYTE_LIMIT));
  let buffers = [new Uint8Array(0), new Uint8Array(0)] as const;
  for (const { first, count, values } of source.chunks()) {
    const elements = count * columns;
    const wanted = [asItLies === undefined ? 0 : elements, turned === undefined ? 0 : elements] as const;
    if (buffers[0].length < wanted[0] || buffers[1].length < wanted[1]) buffers = [new Uint8Array(wanted[0]), new Uint8Array(wanted[1])];
    // Both dtypes wrap whole numbers to the same byte.
    const [lying, standing] = [buffers[0].subarray(0, wanted[0]), buffers[1].subarray(0, wanted[1])];
    const peaks = known ?? new Float64Array(count);
    if (known === undefined) {
      rowPeaks(values, columns, peaks);
      peaks.forEach((peak, r) => (all[first + r] = peak / BYTE_LIMIT));
    }
    for (let r = 0; r < count; r++) {
      for (let c = 0; c < columns; c++) {
        const scale = (peaks[known === undefined ? r : c] ?? 0) / BYTE_LIMIT;
        const byte = scale > 0 ? Math.round((values[r * columns + c] ?? 0) / scale) + zero : zero;
        // What is not wanted has no room: nothing is written.
        lying[r * columns + c] = byte;
        standing[c * count + r] = byte;
      }
    }
    const typed = (bytes: Uint8Array): TensorData => (dtype === "uint8" ? bytes : new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length));
    asItLies?.({ row: first, column: 0, rows: count, columns, data: typed(lying) });
    turned?.({ row: 0, column: first, rows: columns, columns: count, data: typed(standing) });
  }
  scales(vector(all));
}

/** What the value of largest magnitude is divided by to try scales of a block: −8 uses all sixteen numbers, smaller ones cut the largest off. */
const INT4_DIVISORS = [-8, 8, -7.5, 7.5, 7, -7, -8.5, 8.5, -9, 9, -10] as const;

const nearest4 = (x: number): number => Math.max(-8, Math.min(7, Math.round(x)));

/** The scale under which a block of values keeps most: the least squared error of those tried. */
function blockScale(values: Float32Array): number {
  let peak = 0;
  for (const x of values) if (Math.abs(x) > Math.abs(peak)) peak = x;
  if (peak === 0) return 0;
  let [best, least] = [peak / 7, Infinity];
  for (const divisor of INT4_DIVISORS) {
    const scale = Math.fround(peak / divisor);
    let error = 0;
    for (const x of values) error += (x - scale * nearest4(x / scale)) ** 2;
    if (error < least) [best, least] = [scale, error];
  }
  return best;
}

/** Blocks of 32 along rows, each by its own scale; two elements a byte: `[rows, columns / 2]` and scales `[rows, columns / 32]`. */
export function roundToInt4(source: BaseRows, { data, scales }: { readonly data: BlockSink; readonly scales: BlockSink }): void {
  const [bytesOfRow, blocksOfRow] = [source.columns / 2, source.columns / INT4_BLOCK];
  for (const { first, count, values } of source.chunks()) {
    const [packed, found] = [new Uint8Array(count * bytesOfRow), new Float32Array(count * blocksOfRow)];
    for (let block = 0; block < found.length; block++) {
      const start = block * INT4_BLOCK;
      const scale = blockScale(values.subarray(start, start + INT4_BLOCK));
      found[block] = scale;
      const stored = (i: number): number => (scale === 0 ? 8 : nearest4((values[i] ?? 0) / scale) + 8);
      for (let i = start; i < start + INT4_BLOCK; i += 2) packed[i >> 1] = stored(i) | (stored(i + 1) << 4);
    }
    data({ row: first, column: 0, rows: count, columns: bytesOfRow, data: packed });
    scales({ row: first, column: 0, rows: count, columns: blocksOfRow, data: found });
  }
}
