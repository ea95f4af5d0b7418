/**
 * Low-rank factors taken from a base weight W `[out, in]`, to start LoRA from:
 * PiSSA (Meng et al. 2024, eq. 2-4): A = √(S/s) Vᵀ, B = U √(S/s) of the r largest singular triplets, so that s · B A is W's leading part;
 * OLoRA (Büyükakyüz 2024, section 3): A the first r rows of R, B the first r columns of Q, with W = Q R.
 */
import { Matrix, QrDecomposition } from "ml-matrix";
import { must } from "../../core/base/errors.ts";
import type { LinearModule } from "../architectures/sites.ts";
import type { StartSources } from "./adapter.ts";
import { largestSingularTriplets } from "./truncated-svd.ts";

export interface Factors {
  /** `[r, in]` */
  readonly a: Float32Array;
  /** `[out, r]` */
  readonly b: Float32Array;
}

export interface FactoredModule {
  readonly linear: LinearModule;
  readonly r: number;
  /** What the product of the factors is multiplied by. */
  readonly scaling: number;
}

function pissa(weight: Float32Array, { linear, r, scaling }: FactoredModule): Factors {
  const { inFeatures, outFeatures, layout } = linear;
  const transposed = layout === "in_out";
  const found = largestSingularTriplets({ rows: transposed ? inFeatures : outFeatures, columns: transposed ? outFeatures : inFeatures, data: weight }, r);
  const [outputs, inputs] = transposed ? [found.right, found.left] : [found.left, found.right];
  const [a, b] = [new Float32Array(r * inFeatures), new Float32Array(outFeatures * r)];
  found.values.forEach((value, k) => {
    const root = Math.sqrt(value / scaling);
    must(inputs[k], "right vector").forEach((x, i) => { a[k * inFeatures + i] = root * x; });
    must(outputs[k], "left vector").forEach((x, o) => { b[o * r + k] = root * x; });
  });
  return { a, b };
}

function olora(weight: Float32Array, { linear, r }: FactoredModule): Factors {
  const { inFeatures, outFeatures, layout } = linear;
  const at = layout === "out_in" ? (o: number, i: number) => weight[o * inFeatures + i] ?? 0 : (o: number, i: number) => weight[i * outFeatures + o] ?? 0;
  // The first r columns of Q span those of W, and need no others.
  const leading = Matrix.zeros(outFeatures, r);
  for (let o = 0; o < outFeatures; o++) for (let k = 0; k < r; k++) leading.set(o, k, at(o, k));
  const q = new QrDecomposition(leading).orthogonalMatrix; // [out, r]
  const rows = new Float64Array(r * inFeatures); // Qᵀ W
  for (let o = 0; o < outFeatures; o++) {
    for (let k = 0; k < r; k++) {
      const factor = q.get(o, k);
      for (let i = 0; i < inFeatures; i++) rows[k * inFeatures + i] = (rows[k * inFeatures + i] ?? 0) + factor * at(o, i);
    }
  }
  return { a: Float32Array.from(rows), b: Float32Array.from(q.to1DArray()) };
}

const DECOMPOSITIONS = { pissa, olora };
/** The starts that take their factors from the base. */
export type FactorStart = keyof typeof DECOMPOSITIONS;

/** A module's factors as a function of where tensors start from; decomposed once per base, as four tensors need them. */
export function baseFactors(start: FactorStart, module: FactoredModule): (from: StartSources) => Factors {
  const known = new WeakMap<StartSources["base"], Factors>();
  return ({ base }) => {
    const found = known.get(base) ?? DECOMPOSITIONS[start](base(module.linear.weight), module);
    known.set(base, found);
    return found;
  };
}
