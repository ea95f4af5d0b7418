import { expect, test } from "vitest";
import { randomKey, uniforms } from "../../core/base/random.ts";
import { must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import { byteZero, BYTE_DTYPES, type ByteDType } from "../graph/byte-weights.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { quantizedMatMul } from "../graph/operations.ts";
import { isExactProduct } from "./byte-products.ts";
import { openSession } from "./onnx-session.ts";

/** Largest error of a product of rows and weights drawn from the whole range of bytes, in parts of its root mean square. */
async function errorOfDrawn(dtype: ByteDType): Promise<number> {
  const [rows, k, n] = [37, 131, 53];
  const draw = (purpose: string, count: number): readonly number[] => Array.from(uniforms(randomKey(3, purpose), [], count), (u) => Math.round(254 * u) - 127);
  const [x, w] = [draw("rows", rows * k), draw("weight", k * n)];
  // The first element of each row is the largest, so that rounding leaves the rows as they are.
  for (let r = 0; r < rows; r++) Object.assign(x, { [r * k]: 127 });
  const held = (values: readonly number[]) => (dtype === "uint8" ? Uint8Array.from(values, (v) => v + byteZero(dtype)) : Int8Array.from(values));
  const builder = new GraphBuilder();
  const turned = Array.from({ length: k * n }, (_, i) => w[(i % k) * n + Math.floor(i / k)] ?? 0);
  builder.output("y", quantizedMatMul(builder.input("x", "float32", [rows, k]), { weight: builder.constant(tensor(dtype, [k, n], held(w))) }, { weight: builder.constant(tensor(dtype, [n, k], held(turned))) }));
  using session = await openSession(builder.finish(), { threads: 1 });
  const y = must((await session.run({ x: tensor("float32", [rows, k], Float32Array.from(x)) }))["y"], "y").data;
  let [worst, squares] = [0, 0];
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < n; c++) {
      let exact = 0;
      for (let i = 0; i < k; i++) exact += (x[r * k + i] ?? 0) * (w[i * n + c] ?? 0);
      worst = Math.max(worst, Math.abs(Number(y[r * n + c]) - exact));
      squares += exact ** 2;
    }
  }
  return worst / Math.sqrt(squares / (rows * n));
}

test.each(BYTE_DTYPES)("what is said of %s weights holds for other shapes and drawn numbers", async (dtype) => {
  const error = await errorOfDrawn(dtype);
  if (await isExactProduct(dtype)) expect(error).toBeLessThan(1e-5);
  else expect(error).toBeGreaterThan(0.01);
});

test("one form at least is exact", async () => {
  expect([await isExactProduct("int8"), await isExactProduct("uint8")]).toContain(true);
});
