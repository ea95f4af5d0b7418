/**
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).
 * Every number is a pure function of a key (seed and purpose) and a counter; no generator holds state.
 */
import { sha256 } from "./hash.ts";

/** A 64-bit Philox key, as two unsigned 32-bit words. */
export type RandomKey = readonly [number, number];

/** Up to three 32-bit words that say which draw is meant, e.g. (client, round, step); missing words count as 0. */
export type RandomCounter = readonly [number?, number?, number?];

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/** The upper 32 bits of the 64-bit product of two unsigned 32-bit words. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + ((aLow * bHigh + (middle & 0xffff)) / 0x10000)) >>> 0;
}

/** One block of four 32-bit words: Philox4x32 with ten rounds, written to `out` at `offset`. */
export function philox4x32(key: RandomKey, counter: readonly [number, number, number, number], out: Uint32Array, offset: number): void {
  let [k0, k1] = key;
  let [c0, c1, c2, c3] = counter;
  for (let round = 0; round < 10; round++) {
    const h0 = multiplyHigh(M0, c0);
    const l0 = Math.imul(M0, c0);
    const h1 = multiplyHigh(M1, c2);
    const l1 = Math.imul(M1, c2);
    c0 = (h1 ^ c1 ^ k0) >>> 0;
    c1 = l1 >>> 0;
    c2 = (h0 ^ c3 ^ k1) >>> 0;
    c3 = l0 >>> 0;
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  out[offset] = c0;
  out[offset + 1] = c1;
  out[offset + 2] = c2;
  out[offset + 3] = c3;
}

/** The key for one purpose ("dropout", "shuffle", …) under an experiment's seed. */
export function randomKey(seed: number, purpose: string): RandomKey {
  const hex = sha256(`fedtune:${seed}:${purpose}`);
  return [Number.parseInt(hex.slice(0, 8), 16), Number.parseInt(hex.slice(8, 16), 16)];
}

/** `count` random 32-bit words at a counter. */
export function randomWords(key: RandomKey, counter: RandomCounter, count: number): Uint32Array {
  const blocks = Math.ceil(count / 4);
  const out = new Uint32Array(blocks * 4);
  const [a = 0, b = 0, c = 0] = counter;
  for (let i = 0; i < blocks; i++) philox4x32(key, [i, a >>> 0, b >>> 0, c >>> 0], out, i * 4);
  return out.subarray(0, count);
}

/** `count` uniform numbers in the open interval (0, 1), with 32 random bits each. */
export function uniforms(key: RandomKey, counter: RandomCounter, count: number): Float64Array {
  return Float64Array.from(randomWords(key, counter, count), (w) => (w + 0.5) / 0x100000000);
}

/** `count` standard normal numbers (Box and Muller 1958). */
export function normals(key: RandomKey, counter: RandomCounter, count: number): Float64Array {
  const u = uniforms(key, counter, count + (count % 2));
  const out = new Float64Array(u.length);
  for (let i = 0; i < u.length; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(u[i] ?? 0.5));
    const angle = 2 * Math.PI * (u[i + 1] ?? 0.5);
    out[i] = radius * Math.cos(angle);
    out[i + 1] = radius * Math.sin(angle);
  }
  return out.subarray(0, count);
}

/** A uniform permutation of 0 … n − 1 (Fisher and Yates). */
export function permutation(key: RandomKey, counter: RandomCounter, n: number): Int32Array {
  const order = Int32Array.from({ length: n }, (_, i) => i);
  const u = uniforms(key, counter, Math.max(0, n - 1));
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor((u[n - 1 - i] ?? 0) * (i + 1));
    const held = order[i] ?? 0;
    order[i] = order[j] ?? 0;
    order[j] = held;
  }
  return order;
}
