import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { tensor } from "../base/tensor.ts";
import { createSafetensorsWriter } from "./safetensors-writer.ts";

const folder = mkdtempSync(join(tmpdir(), "fedtune-writer-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const matrix = tensor("float32", [3, 2, 5], Float32Array.from({ length: 30 }, (_, i) => i / 7));
const vector = tensor("int8", [7], Int8Array.of(1, -2, 3, -4, 5, -6, 7));
const DECLARED = [{ name: "matrix", dtype: matrix.dtype, shape: matrix.shape }, { name: "vector", dtype: vector.dtype, shape: vector.shape }];

/** Rows and columns of the matrix, of which it has 3 and 10. */
function block(row: number, column: number, [rows, columns]: readonly [number, number]) {
  return { row, column, rows, columns, data: Float32Array.from({ length: rows * columns }, (_, i) => ((row + Math.floor(i / columns)) * 10 + column + (i % columns)) / 7) };
}

test("blocks in any order make the file that whole tensors make", () => {
  const [whole, pieces] = [join(folder, "whole"), join(folder, "pieces")];
  {
    using writer = createSafetensorsWriter(whole, DECLARED, { align: 64 });
    writer.write("matrix", matrix);
    writer.write("vector", vector);
    writer.finish();
  }
  using writer = createSafetensorsWriter(pieces, DECLARED, { align: 64 });
  writer.writeBlock("vector", { row: 4, column: 0, rows: 3, columns: 1, data: vector.data.subarray(4) });
  writer.writeBlock("matrix", block(1, 7, [2, 3]));
  writer.writeBlock("matrix", block(0, 0, [1, 10]));
  writer.writeBlock("matrix", block(1, 0, [2, 7]));
  writer.writeBlock("vector", { row: 0, column: 0, rows: 4, columns: 1, data: vector.data.subarray(0, 4) });
  writer.finish();
  expect(readFileSync(pieces)).toEqual(readFileSync(whole));
});

test("a file that lacks a block is not finished, and leaves nothing", () => {
  const path = join(folder, "lacking");
  {
    using writer = createSafetensorsWriter(path, DECLARED);
    writer.writeBlock("matrix", block(0, 0, [3, 9]));
    writer.writeBlock("vector", { row: 0, column: 0, rows: 7, columns: 1, data: vector.data });
    expect(() => writer.finish()).toThrow("matrix is not yet written");
  }
  expect(readdirSync(folder).filter((name) => name.startsWith("lacking"))).toEqual([]);
});

test.each([
  ["a row too many", "matrix", block(1, 0, [3, 10])],
  ["a column too many", "matrix", block(0, 8, [1, 3])],
  ["a size that contradicts the data", "matrix", { ...block(0, 0, [1, 3]), columns: 4 }],
  ["data of another width", "matrix", { row: 0, column: 0, rows: 1, columns: 2, data: Int8Array.of(1, 2) }],
  ["a tensor that is not declared", "other", block(0, 0, [1, 1])],
])("a block with %s is refused", (_what, name, given) => {
  using writer = createSafetensorsWriter(join(folder, "refused"), DECLARED);
  expect(() => writer.writeBlock(name, given)).toThrow(`safetensors writer: ${name} ${name === "other" ? "is not declared" : "float32[3, 2, 5] does not hold"}`);
});
