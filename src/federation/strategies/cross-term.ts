/**
 * How far the mean of factors is from the mean of products: ‖mean(B)·mean(A) − mean(BA)‖_F / ‖mean(BA)‖_F over all factor pairs.
 * With B̃ = B − mean(B) and Ã = A − mean(A), mean(BA) − mean(B)·mean(A) = Σ share·B̃Ã, so nothing of the size [O, D] is formed
 * and nothing cancels. Small problems are solved exactly by Gram matrices, ‖Σ B̃ᵢÃᵢ‖² = Σᵢⱼ tr((B̃ᵢᵀB̃ⱼ)(ÃⱼÃᵢᵀ));
 * larger ones, whose Gram matrices grow with the square of the clients, by random signs z: E‖Mz‖² = ‖M‖² (Hutchinson 1990).
 */
import { must } from "../../core/base/errors.ts";
import type { FactorPair } from "../../core/base/factor-pair.ts";
import { randomKey, randomWords } from "../../core/base/random.ts";
import type { NamedTensors, Tensor } from "../../core/base/tensor.ts";

/** One client's factors and its share of the mean. */
export interface SharedUpdate {
  readonly share: number;
  readonly tensors: NamedTensors<"float32">;
}

export interface CrossTermOptions {
  /** Multiplications that may be spent; the default takes some 30 ms. */
  readonly budget?: number;
}

const DEFAULT_BUDGET = 32e6;

/** Factors as seen by the loops below: `up` `[O, R]`, `down` `[R, D]`, row-major. */
interface Factors {
  readonly share: number;
  readonly up: Float32Array;
  readonly down: Float32Array;
}
interface Dims {
  readonly O: number;
  readonly R: number;
  readonly D: number;
}
/** Squared norms of the cross term and of the mean product. */
interface SquaredNorms {
  readonly cross: number;
  readonly product: number;
}

/** The relative cross term (0: averaging factors loses nothing), or null where the mean product is zero or there are no pairs. `updates`' shares sum to 1. */
export function crossTerm(pairs: readonly FactorPair[], updates: readonly SharedUpdate[], options: CrossTermOptions = {}): number | null {
  const problems = pairs.map((pair) => ({ scaling: pair.scaling, ...gather(pair, updates) }));
  const clients = updates.length;
  const exactCost = problems.reduce((sum, { dims: { O, R, D } }) => sum + (((clients + 1) * R) ** 2 * (O + D)) / 2, 0);
  const probeCost = problems.reduce((sum, { dims: { O, R, D } }) => sum + clients * R * (2 * O + D), 0);
  const budget = options.budget ?? DEFAULT_BUDGET;
  const probes = exactCost <= budget ? 0 : Math.max(1, Math.floor(budget / probeCost));
  let cross = 0;
  let product = 0;
  for (const [index, { dims, factors, scaling }] of problems.entries()) {
    const norms = probes === 0 ? exactNorms(dims, factors) : probedNorms(dims, factors, { pair: index, probes });
    cross += scaling ** 2 * norms.cross;
    product += scaling ** 2 * norms.product;
  }
  return product > 0 ? Math.sqrt(Math.max(0, cross) / product) : null;
}

function gather(pair: FactorPair, updates: readonly SharedUpdate[]): { dims: Dims; factors: readonly Factors[] } {
  const pick = (tensors: NamedTensors<"float32">, name: string): Tensor<"float32"> => must(tensors.get(name), `factor ${name}`);
  const factors = updates.map(({ share, tensors }) => ({ share, up: pick(tensors, pair.b).data, down: pick(tensors, pair.a).data }));
  const [first] = updates;
  if (first === undefined) return { dims: { O: 0, R: 0, D: 0 }, factors };
  const [O = 0, R = 0] = pick(first.tensors, pair.b).shape;
  const [, D = 0] = pick(first.tensors, pair.a).shape;
  return { dims: { O, R, D }, factors };
}

/** Exact: all clients' deviations and the mean side by side as one factor of rank (clients + 1)·R. */
function exactNorms({ O, R, D }: Dims, factors: readonly Factors[]): SquaredNorms {
  const meanUp = mean(factors, "up", O * R);
  const meanDown = mean(factors, "down", R * D);
  const rank = (factors.length + 1) * R;
  const ups = new Float64Array(rank * O); // columns of Σ's left factors, as rows: [rank, O]
  const downs = new Float64Array(rank * D); // [rank, D]
  for (const [i, { share, up, down }] of factors.entries()) {
    for (let r = 0; r < R; r++) {
      for (let o = 0; o < O; o++) ups[(i * R + r) * O + o] = share * ((up[o * R + r] ?? 0) - (meanUp[o * R + r] ?? 0));
      for (let d = 0; d < D; d++) downs[(i * R + r) * D + d] = (down[r * D + d] ?? 0) - (meanDown[r * D + d] ?? 0);
    }
  }
  const last = factors.length * R;
  for (let r = 0; r < R; r++) {
    for (let o = 0; o < O; o++) ups[(last + r) * O + o] = meanUp[o * R + r] ?? 0;
    downs.set(meanDown.subarray(r * D, (r + 1) * D), (last + r) * D);
  }
  let cross = 0;
  let product = 0;
  for (let i = 0; i < rank; i++) {
    for (let j = 0; j <= i; j++) {
      const term = (i === j ? 1 : 2) * rowProduct(ups, i, j, O) * rowProduct(downs, i, j, D);
      product += term;
      if (i < last) cross += term;
    }
  }
  return { cross, product };
}

function rowProduct(rows: Float64Array, i: number, j: number, width: number): number {
  let sum = 0;
  for (let k = 0; k < width; k++) sum += (rows[i * width + k] ?? 0) * (rows[j * width + k] ?? 0);
  return sum;
}

/** Estimated with `probes` vectors of random signs, the same in every run. */
function probedNorms({ O, R, D }: Dims, factors: readonly Factors[], seed: { readonly pair: number; readonly probes: number }): SquaredNorms {
  const key = randomKey(0, "cross-term");
  let cross = 0;
  let product = 0;
  for (let probe = 0; probe < seed.probes; probe++) {
    const signs = Float64Array.from(randomWords(key, [seed.pair, probe], D), (word) => (word & 1) * 2 - 1);
    const inner = factors.map(({ share, down }) => multiply(down, signs, { rows: R, share })); // share · A z: [R] each
    const centre = inner.reduce((sum, vector) => sum.map((value, r) => value + (vector[r] ?? 0)), new Float64Array(R)); // mean(A) z
    const image = new Float64Array(O); // Σ share · B (A − mean(A)) z = Σ share · B̃ Ã z
    const whole = new Float64Array(O); // Σ share · B A z
    for (const [i, { share, up }] of factors.entries()) {
      const own = inner[i] ?? centre;
      addProducts(up, own, { whole, image, deviation: own.map((value, r) => value - share * (centre[r] ?? 0)) });
    }
    cross += squared(image) / seed.probes;
    product += squared(whole) / seed.probes;
  }
  return { cross, product };
}

function mean(factors: readonly Factors[], which: "up" | "down", length: number): Float64Array {
  const out = new Float64Array(length);
  for (const factor of factors) {
    const { share } = factor;
    const values = factor[which];
    for (let i = 0; i < length; i++) out[i] = (out[i] ?? 0) + share * (values[i] ?? 0);
  }
  return out;
}

/** share · matrix `[rows, vector.length]` · vector. */
function multiply(matrix: Float32Array, vector: Float64Array, { rows, share }: { readonly rows: number; readonly share: number }): Float64Array {
  const columns = vector.length;
  const out = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    let sum = 0;
    for (let c = 0; c < columns; c++) sum += (matrix[r * columns + c] ?? 0) * (vector[c] ?? 0);
    out[r] = share * sum;
  }
  return out;
}

/** whole += matrix · vector and image += matrix · deviation, with matrix `[whole.length, vector.length]`, read once. */
function addProducts(matrix: Float32Array, vector: Float64Array, { whole, image, deviation }: { readonly whole: Float64Array; readonly image: Float64Array; readonly deviation: Float64Array }): void {
  const columns = vector.length;
  for (let o = 0; o < whole.length; o++) {
    let sum = 0;
    let deviating = 0;
    for (let r = 0; r < columns; r++) {
      const value = matrix[o * columns + r] ?? 0;
      sum += value * (vector[r] ?? 0);
      deviating += value * (deviation[r] ?? 0);
    }
    whole[o] = (whole[o] ?? 0) + sum;
    image[o] = (image[o] ?? 0) + deviating;
  }
}

function squared(vector: Float64Array): number {
  let sum = 0;
  for (const value of vector) sum += value * value;
  return sum;
}
