/** What adapters of linear modules share: a low-rank change of a weight, and outputs with their bias. */
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { LinearModule, Site } from "../architectures/sites.ts";

/** The module's own output `[C, N, out]`. */
export function withBias({ product, bias }: Site): Value {
  return bias === undefined ? product : g.add(product, bias);
}

export interface LowRankChange {
  /** `[r, in]` and `[out, r]` */
  readonly a: ArrayLike<number>;
  readonly b: ArrayLike<number>;
  readonly r: number;
  readonly scaling: number;
}

/** scaling · B A in the layout of the module's weight. */
export function weightChange({ inFeatures, outFeatures, layout }: LinearModule, { a, b, r, scaling }: LowRankChange): Float64Array {
  const change = new Float64Array(outFeatures * inFeatures);
  const [row, column] = layout === "out_in" ? [inFeatures, 1] : [1, outFeatures];
  for (let o = 0; o < outFeatures; o++) {
    for (let k = 0; k < r; k++) {
      const factor = scaling * (b[o * r + k] ?? 0);
      for (let i = 0; i < inFeatures; i++) {
        const at = o * row + i * column;
        change[at] = (change[at] ?? 0) + factor * (a[k * inFeatures + i] ?? 0);
      }
    }
  }
  return change;
}
