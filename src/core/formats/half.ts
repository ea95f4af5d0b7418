/** float16 and bfloat16 to and from float32. Half-precision values are kept as their 16 bits. */
import type { HalfDType } from "../base/tensor.ts";

/** Bits of the float32 that equals a float16, for all 65,536 of them. */
function buildHalfTable(): Uint32Array {
  const table = new Uint32Array(0x10000);
  for (let bits = 0; bits < 0x10000; bits++) {
    const sign = (bits & 0x8000) << 16;
    const exponent = (bits >>> 10) & 0x1f;
    const fraction = bits & 0x3ff;
    if (exponent === 0x1f) {
      table[bits] = sign | 0x7f800000 | (fraction << 13);
    } else if (exponent !== 0) {
      table[bits] = sign | ((exponent + 112) << 23) | (fraction << 13);
    } else if (fraction !== 0) {
      // A subnormal, fraction · 2^-24, is a normal float32: its leading bit becomes the implicit one.
      const shift = Math.clz32(fraction) - 21;
      table[bits] = sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13);
    } else {
      table[bits] = sign;
    }
  }
  return table;
}

let halfTable: Uint32Array | undefined;

/**
 * float16 bits `[n]` to float32 `[n]`, exactly; the payload of a NaN is kept. `out` may be the memory that ends with `bits`:
 * an element is written only once those before it are read.
 */
export function float16ToFloat32(bits: Uint16Array, out = new Float32Array(bits.length)): Float32Array<ArrayBuffer> {
  halfTable ??= buildHalfTable();
  const table = halfTable;
  const words = new Uint32Array(out.buffer, out.byteOffset, bits.length);
  for (let i = 0; i < bits.length; i++) words[i] = table[bits[i] ?? 0] ?? 0;
  return out;
}

/** bfloat16 bits `[n]` to float32 `[n]`, exactly; the payload of a NaN is kept. `out` as for `float16ToFloat32`. */
export function bfloat16ToFloat32(bits: Uint16Array, out = new Float32Array(bits.length)): Float32Array<ArrayBuffer> {
  const words = new Uint32Array(out.buffer, out.byteOffset, bits.length);
  for (let i = 0; i < bits.length; i++) words[i] = (bits[i] ?? 0) << 16;
  return out;
}

/** The bits of a float16 nearest to the float32 with these bits, ties to even. */
function narrowToFloat16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x1ff);
  // 65,520 and above rounds to infinity.
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    // A normal float16: rebias the exponent from 127 to 15, then round off 13 bits; a carry moves into the exponent, as it should.
    const rebiased = magnitude - 0x38000000;
    return sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
  }
  // Up to half of the smallest subnormal (2^-25, itself a tie) rounds to zero.
  if (magnitude <= 0x33000000) return sign;
  const shift = 126 - (magnitude >>> 23);
  const fraction = (magnitude & 0x7fffff) | 0x800000;
  const kept = fraction >>> shift;
  const rest = fraction & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0));
}

/** float32 `[n]` to float16 bits `[n]`: to the nearest, ties to even; beyond ±65,504 by more than half a step becomes infinite; NaN stays NaN. */
export function float32ToFloat16(values: Float32Array, out = new Uint16Array(values.length)): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) out[i] = narrowToFloat16(bits[i] ?? 0);
  return out;
}

/** float32 `[n]` to bfloat16 bits `[n]`: to the nearest, ties to even; NaN stays NaN. */
export function float32ToBfloat16(values: Float32Array, out = new Uint16Array(values.length)): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i] ?? 0;
    out[i] = (b & 0x7fffffff) > 0x7f800000 ? (b >>> 16) | 0x40 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
  return out;
}

/** float32 `[n]` to the bits of a half precision, as the functions above. */
export function narrow(values: Float32Array, dtype: HalfDType, out = new Uint16Array(values.length)): Uint16Array<ArrayBuffer> {
  return dtype === "float16" ? float32ToFloat16(values, out) : float32ToBfloat16(values, out);
}

/** Bits of a half precision to float32 `[n]`, exactly. */
export function widen(bits: Uint16Array, dtype: HalfDType): Float32Array<ArrayBuffer> {
  return dtype === "float16" ? float16ToFloat32(bits) : bfloat16ToFloat32(bits);
}
