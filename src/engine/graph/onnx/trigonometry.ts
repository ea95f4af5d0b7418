/**
 * Sine and cosine for devices whose own are coarse: Vulkan allows an error of 2⁻¹¹, and more outside [−π, π], where the
 * angles of rotary positions lie.
 */
import type { OnnxEmitter } from "./emitter.ts";

/** π in three parts (Moshier's Cephes, sinf.c): products of the first two with whole numbers below 2¹³ are exact in float32. */
const PI = [3.140625, 9.675025939941406e-4, 1.509957990978376e-7] as const;
/** sin r = r · Σ cᵢ r²ⁱ: Taylor's series, off by less than 1e-9 for |r| ≤ π/2. */
const SERIES = [1, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800, 1 / 6227020800] as const;

/** sin x or cos x: with x = kπ + r (for the cosine (k + ½)π + r), |r| ≤ π/2, it is ±sin r, the sign by whether k is even. */
export function emitSine(e: OnnxEmitter, x: string, { cosine, output }: { readonly cosine: boolean; readonly output: string }): void {
  const [add, sub, mul] = ["Add", "Sub", "Mul"].map((op) => (a: string, b: string | number): string => e.fresh(op, [a, typeof b === "number" ? e.float(b) : b]));
  if (add === undefined || sub === undefined || mul === undefined) throw new Error("unreachable: three operations");
  const shift = cosine ? 0.5 : 0;
  const k = e.fresh("Floor", [add(mul(x, 1 / Math.PI), 0.5 - shift)]);
  const turns = cosine ? add(k, shift) : k;
  const r = PI.reduce((rest, part) => sub(rest, mul(turns, part)), x);
  const square = mul(r, r);
  const sum = SERIES.slice(0, -1).reduceRight((tail, c) => add(mul(square, tail), c), e.float(SERIES[6]));
  const odd = sub(k, mul(e.fresh("Floor", [mul(k, 0.5)]), 2)); // 0 or 1
  const sign = cosine ? sub(mul(odd, 2), 1) : add(mul(odd, -2), 1);
  e.node("Mul", [mul(sum, r), sign], [output]);
}
