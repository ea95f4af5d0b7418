/** A pair of low-rank factors, known by name: shared by adapters, which declare it, and strategies, which average it. */

/** scaling · B A with A `[r, in]` and B `[out, r]`, both named tensors of the adapter. */
export interface FactorPair {
  readonly a: string;
  readonly b: string;
  readonly scaling: number;
}
