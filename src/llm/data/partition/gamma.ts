/** Dirichlet draws from counter-based random numbers. */
import { normals, randomKey, uniforms } from "../../../core/base/random.ts";

/** Chance that one try fails is below 5 %, so this many never do. */
const MAX_TRIES = 200;

/**
 * Logarithm of a Gamma(alpha, 1) draw (Marsaglia and Tsang 2000), a pure function of seed and place. In logarithms, because
 * for small alpha most draws are too small for a float64.
 */
function logGamma(alpha: number, seed: number, place: readonly [number, number]): number {
  const normalKey = randomKey(seed, "gamma normal");
  const uniformKey = randomKey(seed, "gamma uniform");
  const shape = alpha < 1 ? alpha + 1 : alpha;
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (let t = 0; t < MAX_TRIES; t++) {
    const [x = 0] = normals(normalKey, [...place, t], 1);
    const [u = 0.5, boost = 0.5] = uniforms(uniformKey, [...place, t], 2);
    const v = (1 + c * x) ** 3;
    if (v <= 0 || Math.log(u) >= 0.5 * x * x + d - d * v + d * Math.log(v)) continue;
    // Gamma(alpha) = Gamma(alpha + 1) · U^(1/alpha) for alpha below 1.
    return Math.log(d * v) + (alpha < 1 ? Math.log(boost) / alpha : 0);
  }
  throw new Error("logGamma: no draw was accepted");
}

/** `count` shares that sum to 1, drawn from a symmetric Dirichlet(alpha); `place` says which draw of the seed is meant. */
export function drawDirichlet(alpha: number, count: number, { seed, place }: { readonly seed: number; readonly place: readonly [attempt: number, group: number] }): Float64Array {
  const [attempt, group] = place;
  const logs = Float64Array.from({ length: count }, (_, i) => logGamma(alpha, seed, [attempt, group * count + i]));
  const highest = Math.max(...logs);
  const shares = logs.map((log) => Math.exp(log - highest));
  const sum = shares.reduce((a, b) => a + b, 0);
  return shares.map((share) => share / sum);
}
