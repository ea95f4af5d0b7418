import { describe, expect, test } from "vitest";
import { normals, randomKey } from "../../core/base/random.ts";
import type { TensorBlock } from "../../core/formats/safetensors-writer.ts";
import { isCoarse, isUneven } from "./quantized-weights.ts";
import { roundToBytes, roundToInt4, type BaseRows, type BlockSink } from "./round-rows.ts";

/** A matrix in chunks of so many rows; all share one buffer, as the checkpoint's do. */
function matrix(values: Float32Array, columns: number, rowsAtOnce: number): BaseRows {
  const rows = values.length / columns;
  const buffer = new Float32Array(rowsAtOnce * columns);
  return {
    rows, columns,
    *chunks() {
      for (let first = 0; first < rows; first += rowsAtOnce) {
        const count = Math.min(rowsAtOnce, rows - first);
        buffer.fill(NaN);
        buffer.set(values.subarray(first * columns, (first + count) * columns));
        yield { first, count, values: buffer.subarray(0, count * columns) };
      }
    },
  };
}

/** Puts blocks together; what no block fills stays undefined. */
function collect(width: number): { readonly sink: BlockSink; readonly values: number[] } {
  const values: number[] = [];
  const sink = ({ row, column, rows, columns, data }: TensorBlock): void => {
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) values[(row + r) * width + column + c] = Number(data[r * columns + c]);
  };
  return { sink, values };
}

const [ROWS, COLUMNS] = [7, 64];
const VALUES = Float32Array.from(normals(randomKey(2, "matrix"), [], ROWS * COLUMNS));
VALUES.fill(0, 2 * COLUMNS, 3 * COLUMNS);
for (let r = 0; r < ROWS; r++) VALUES[r * COLUMNS + 5] = 0;

describe.each([1, 3, ROWS])("in chunks of %i rows", (rowsAtOnce) => {
  test.each([["int8", "row"], ["int8", "column"], ["uint8", "row"], ["uint8", "column"]] as const)("%s by %s is each element over its scale, to nearest, in both layouts", (dtype, scaleBy) => {
    const [lying, turned, scales] = [collect(COLUMNS), collect(ROWS), collect(1)];
    roundToBytes(matrix(VALUES, COLUMNS, rowsAtOnce), { dtype, scaleBy }, { asItLies: lying.sink, turned: turned.sink, scales: scales.sink });
    const zero = dtype === "uint8" ? 128 : 0;
    const groupOf = (i: number): number => (scaleBy === "row" ? Math.floor(i / COLUMNS) : i % COLUMNS);
    const peaks = Array.from({ length: scaleBy === "row" ? ROWS : COLUMNS }, (_, group) => Math.max(...VALUES.filter((__, i) => groupOf(i) === group).map(Math.abs)));
    expect(scales.values).toEqual(peaks.map((peak) => Math.fround(peak / 127)));
    const expected = Array.from(VALUES, (x, i) => (peaks[groupOf(i)] === 0 ? zero : Math.round(x / ((peaks[groupOf(i)] ?? 0) / 127)) + zero));
    expect(lying.values).toEqual(expected);
    expect(turned.values).toEqual(Array.from({ length: ROWS * COLUMNS }, (_, i) => expected[(i % ROWS) * COLUMNS + Math.floor(i / ROWS)]));
    expect(Math.max(...expected) - zero).toBe(127);
  });

  test("4 bits keep each block of 32 within half a step of its scale, but for what is cut off", () => {
    const [data, scales] = [collect(COLUMNS / 2), collect(COLUMNS / 32)];
    roundToInt4(matrix(VALUES, COLUMNS, rowsAtOnce), { data: data.sink, scales: scales.sink });
    expect(scales.values.length).toBe((ROWS * COLUMNS) / 32);
    let squares = 0;
    VALUES.forEach((x, i) => {
      const byte = data.values[i >> 1] ?? NaN;
      squares += (x - ((i % 2 === 0 ? byte & 15 : byte >> 4) - 8) * (scales.values[Math.floor(i / 32)] ?? NaN)) ** 2;
    });
    expect(Math.sqrt(squares / VALUES.reduce((sum, x) => sum + x * x, 0))).toBeLessThan(0.1);
  });
});

test("a weight is uneven where a few outputs are much larger than the others, whichever way it lies; not where a few inputs are", () => {
  const [rows, columns] = [40, 60];
  const scaled = (factorOf: (row: number, column: number) => number): BaseRows =>
    matrix(Float32Array.from(normals(randomKey(3, "weights"), [], rows * columns), (x, i) => x * factorOf(Math.floor(i / columns), i % columns)), columns, 7);
  const uneven = (layout: "out_in" | "in_out", factorOf: (row: number, column: number) => number): boolean => isUneven({ base: { name: "w", shape: [rows, columns], parts: [] }, layout }, scaled(factorOf));
  const [largeRow, largeColumn] = [(row: number): number => (row === 3 ? 30 : 1), (_row: number, column: number): number => (column === 3 ? 30 : 1)];
  expect([uneven("out_in", () => 1), uneven("out_in", largeRow), uneven("out_in", largeColumn)]).toEqual([false, true, false]);
  expect([uneven("in_out", () => 1), uneven("in_out", largeRow), uneven("in_out", largeColumn)]).toEqual([false, false, true]);
});

test("an embedding is coarse by element where one token is much larger than the others, not where an element is", () => {
  const [rows, columns] = [500, 16];
  const coarse = (factorOf: (row: number, column: number) => number): boolean =>
    isCoarse(matrix(Float32Array.from(normals(randomKey(4, "embedding"), [], rows * columns), (x, i) => x * factorOf(Math.floor(i / columns), i % columns)), columns, 64));
  expect([coarse(() => 1), coarse((row) => (row === 9 ? 30 : 1)), coarse((_row, column) => (column === 9 ? 30 : 1))]).toEqual([false, true, false]);
});
