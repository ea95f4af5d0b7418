/**
 * Which 8-bit products are exact on this machine. Kernels that multiply unsigned rows by signed weights add pairs of products in
 * 16 bits on processors without VNNI, where 2 · 255 · 127 saturates; unsigned weights take another kernel. Found by products of
 * the largest numbers, not by the processor's name. What is done about it is left to others.
 */
import { must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import { BYTE_LIMIT, byteZero, type ByteDType } from "../graph/byte-weights.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { quantizedMatMul } from "../graph/operations.ts";
import { openSession } from "./onnx-session.ts";

/** Rows of a product decide which kernel runs: one, a few, many. */
const ROW_COUNTS = [1, 5, 64] as const;
const [DEPTH, COLUMNS] = [66, 35] as const;

/** Weights of the largest magnitude: columns of one sign, and of signs that change every second row. */
const weightAt = (row: number, column: number): number => (column % 3 === 0 ? BYTE_LIMIT : column % 3 === 1 ? -BYTE_LIMIT : row % 4 < 2 ? BYTE_LIMIT : -BYTE_LIMIT);

/** Whether products of rounded rows with weights of a dtype are exact at the largest numbers. Takes some milliseconds. */
export async function isExactProduct(dtype: ByteDType): Promise<boolean> {
  const bytes = (values: readonly number[]) => (dtype === "uint8" ? Uint8Array.from(values, (x) => x + byteZero(dtype)) : Int8Array.from(values));
  const elements = Array.from({ length: DEPTH * COLUMNS }, (_, i) => weightAt(Math.floor(i / COLUMNS), i % COLUMNS));
  const turned = Array.from({ length: DEPTH * COLUMNS }, (_, i) => weightAt(i % DEPTH, Math.floor(i / DEPTH)));
  const builder = new GraphBuilder();
  const weight = builder.constant(tensor(dtype, [DEPTH, COLUMNS], bytes(elements)));
  const transposed = builder.constant(tensor(dtype, [COLUMNS, DEPTH], bytes(turned)));
  builder.output("y", quantizedMatMul(builder.input("x", "float32", ["N", DEPTH]), { weight }, { weight: transposed }));
  using session = await openSession(builder.finish(), { threads: 1 });
  for (const rows of ROW_COUNTS) {
    // Rows of ones, which are rounded to 255, and of ones and minus ones: rounding does not change them.
    const x = Float32Array.from({ length: rows * DEPTH }, (_, i) => (Math.floor(i / DEPTH) % 2 === 0 ? 1 : i % 4 < 2 ? 1 : -1));
    const { y } = await session.run({ x: tensor("float32", [rows, DEPTH], x) });
    const { data } = must(y, "products");
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < COLUMNS; c++) {
        let exact = 0;
        for (let i = 0; i < DEPTH; i++) exact += (x[r * DEPTH + i] ?? 0) * weightAt(i, c);
        // Sums of whole numbers: a saturated pair is off by hundreds of parts of the largest product.
        if (Math.abs(Number(data[r * COLUMNS + c]) - exact) > 1) return false;
      }
    }
  }
  return true;
}
