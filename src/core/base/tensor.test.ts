import { describe, expect, test } from "vitest";
import { DTYPES, bytesOf, bytesPerElement, elementCount, formatShape, sameShape, tensor, viewBytes, zeros } from "./tensor.ts";

describe("a tensor", () => {
  test("keeps its data without a copy", () => {
    const data = Float32Array.of(1.5, 2.5, 3.5, 5.5, 7.5, 11.5);
    expect(tensor("float32", [2, 3], data).data).toBe(data);
  });

  test("whose shape contradicts its data is a bug", () => {
    expect(() => tensor("float32", [2, 3], new Float32Array(5))).toThrow("float32[2,3] needs 6 elements, got 5");
  });

  test.each(DTYPES)("of zeros has the elements and bytes of its dtype: %s", (dtype) => {
    const { data, shape } = zeros(dtype, [2, 3, 5]);
    expect([data.length, data.byteLength, shape]).toEqual([30, 30 * bytesPerElement(dtype), [2, 3, 5]]);
    expect(data.every((x) => Number(x) === 0)).toBe(true);
  });
});

describe("a shape", () => {
  test("has the product of its dimensions as elements, a scalar one, an empty one none", () => {
    expect([elementCount([2, 3, 5]), elementCount([]), elementCount([7, 0, 3])]).toEqual([30, 1, 0]);
  });

  test("equals another of the same dimensions in the same order", () => {
    expect([sameShape([2, 3], [2, 3]), sameShape([2, 3], [3, 2]), sameShape([2, 3], [2, 3, 1]), sameShape(["B", 3], ["B", 3]), sameShape([], [])]).toEqual([true, false, false, true, true]);
    expect(formatShape(["B", 3])).toBe("[B, 3]");
  });
});

describe("bytes", () => {
  test("are viewed in place where they are aligned, and copied where they are not", () => {
    const bytes = new Uint8Array(12);
    bytes.set(bytesOf(Float32Array.of(1.5, -2.5)), 4);
    const aligned = viewBytes("float32", bytes.subarray(4));
    expect(aligned).toEqual(Float32Array.of(1.5, -2.5));
    expect(aligned.buffer).toBe(bytes.buffer);
    for (const offset of [1, 2, 3]) {
      bytes.set(bytesOf(Float32Array.of(1.5, -2.5)), offset);
      const shifted = viewBytes("float32", bytes.subarray(offset, offset + 8));
      expect(shifted).toEqual(Float32Array.of(1.5, -2.5));
      expect(shifted.buffer).not.toBe(bytes.buffer);
    }
  });

  test("of part of an array are those of that part", () => {
    expect([...bytesOf(Uint16Array.of(0x0102, 0x0304, 0x0506).subarray(1, 2))]).toEqual([4, 3]);
  });

  test("that are no whole number of elements are refused", () => {
    expect(() => viewBytes("int64", new Uint8Array(12))).toThrow(expect.objectContaining({ code: "data", message: "tensor bytes: expected a multiple of 8 bytes for int64, got 12 bytes." }));
  });
});
