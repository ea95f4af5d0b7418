import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from "./half.ts";

const ALL_BITS = Uint16Array.from({ length: 0x10000 }, (_, i) => i);

/** The value of float16 bits, from the definition in IEEE 754. */
function float16Value(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The even one of the nearest among the non-negative halves, as the definition has it, for a finite x ≥ 0. */
function nearestBits(x: number, valueOf: (bits: number) => number, infinity: number): number {
  let low = 0;
  let high = infinity;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (valueOf(middle) <= x) low = middle;
    else high = middle;
  }
  // Infinity stands where the next step of the largest exponent would be.
  const above = high === infinity ? 2 * valueOf(infinity - 1) - valueOf(infinity - 2) : valueOf(high);
  const down = x - valueOf(low);
  const up = above - x;
  if (down === up) return low % 2 === 0 ? low : high;
  return down < up ? low : high;
}

describe("float16", () => {
  test("each of the 65,536 values widens to what IEEE 754 says", () => {
    const wide = float16ToFloat32(ALL_BITS);
    for (let bits = 0; bits < 0x10000; bits++) if (!Object.is(wide[bits], float16Value(bits))) expect([bits, wide[bits]]).toEqual([bits, float16Value(bits)]);
  });

  test("each value survives widening and narrowing, and a NaN stays a NaN with its sign", () => {
    const back = float32ToFloat16(float16ToFloat32(ALL_BITS));
    const expected = ALL_BITS.map((bits) => (Number.isNaN(float16Value(bits)) ? bits | 0x200 : bits));
    expect(back).toEqual(expected);
  });

  test("narrowing takes the nearest value, ties to even, over the whole range of float32", () => {
    const anyFloat = fc.oneof(
      fc.float({ noNaN: true, noDefaultInfinity: true }),
      fc.float({ min: 0, max: 2 ** -13, noNaN: true }),
      fc.float({ min: 65000, max: 66000, noNaN: true }),
      // Exact ties: midway between two neighbours.
      fc.integer({ min: 0, max: 0x7bfe }).map((bits) => (float16Value(bits) + float16Value(bits + 1)) / 2),
    );
    fc.assert(
      fc.property(anyFloat, (x) => {
        const [bits] = float32ToFloat16(Float32Array.of(x));
        expect(bits).toBe(nearestBits(Math.abs(Math.fround(x)), float16Value, 0x7c00) | (Object.is(x, -0) || x < 0 ? 0x8000 : 0));
      }),
      { numRuns: 5000 },
    );
  });

  test("65,519.996 is the largest half and 65,520 is infinite", () => {
    expect([...float32ToFloat16(Float32Array.of(65504, 65519.996, 65520, -65520, Infinity, -Infinity))]).toEqual([0x7bff, 0x7bff, 0x7c00, 0xfc00, 0x7c00, 0xfc00]);
  });
});

describe("bfloat16", () => {
  test("each value survives widening and narrowing, and a NaN stays a NaN with its sign", () => {
    const wide = bfloat16ToFloat32(ALL_BITS);
    expect(wide[0x3fc0]).toBe(1.5);
    expect(wide[0xc2f7]).toBe(-123.5);
    const expected = ALL_BITS.map((bits, i) => (Number.isNaN(wide[i]) ? bits | 0x40 : bits));
    expect(float32ToBfloat16(wide)).toEqual(expected);
  });

  test("narrowing takes the nearest value, ties to even", () => {
    const value = (bits: number): number => bfloat16ToFloat32(Uint16Array.of(bits))[0] ?? 0;
    const anyFloat = fc.oneof(
      fc.float({ noNaN: true, noDefaultInfinity: true }),
      fc.integer({ min: 0, max: 0x7f7e }).map((bits) => (value(bits) + value(bits + 1)) / 2),
    );
    fc.assert(
      fc.property(anyFloat, (x) => {
        const [bits] = float32ToBfloat16(Float32Array.of(x));
        expect(bits).toBe(nearestBits(Math.abs(Math.fround(x)), value, 0x7f80) | (Object.is(x, -0) || x < 0 ? 0x8000 : 0));
      }),
      { numRuns: 2000 },
    );
  });

  test("a view into the middle of an array narrows its own elements", () => {
    expect([...float32ToBfloat16(Float32Array.of(9, 1.5, -123.5).subarray(1))]).toEqual([0x3fc0, 0xc2f7]);
    expect([...float32ToFloat16(Float32Array.of(9, 1.5, -2).subarray(1))]).toEqual([0x3e00, 0xc000]);
  });
});
