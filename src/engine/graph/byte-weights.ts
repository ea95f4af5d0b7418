/** The two forms of 8-bit weights: the same numbers −127 … 127, signed or unsigned about 128. Products with them are in ops/quantized.ts. */
import type { DType } from "../../core/base/tensor.ts";

/** Dtypes of 8-bit weights, the faster first: some processors multiply unsigned by signed bytes in one instruction. */
export const BYTE_DTYPES = ["int8", "uint8"] as const;
export type ByteDType = (typeof BYTE_DTYPES)[number];

/** What stands for 0 in unsigned bytes that have a sign. */
export const UNSIGNED_ZERO = 128;
/** Largest magnitude of an 8-bit number that has a negative. */
export const BYTE_LIMIT = 127;

/** Whether a tensor can be an 8-bit weight. */
export function isByte(dtype: DType): dtype is ByteDType {
  return BYTE_DTYPES.some((own) => own === dtype);
}

/** What stands for 0 in an 8-bit weight. */
export function byteZero(dtype: DType): number {
  return dtype === "uint8" ? UNSIGNED_ZERO : 0;
}

/** Tokens of a vocabulary whose probabilities are rounded together: few, so that small ones beside a large one are lost among as few; not so few that their products are slow. */
const BLOCK_TOKENS = { least: 256, most: 768 } as const;

/** Equal blocks of a vocabulary of V tokens for the loss's way back in 8 bits; where V has no such divisor the last one is filled up. */
export function vocabularyBlocks(v: number): { readonly blocks: number; readonly tokens: number } {
  const { least, most } = BLOCK_TOKENS;
  for (let tokens = Math.min(v, most); tokens >= Math.min(v, least); tokens--) if (v % tokens === 0) return { blocks: v / tokens, tokens };
  return { blocks: Math.ceil(v / most), tokens: most };
}
