/** Statistics of a comparison: means and deviations over seeds, and how far two measures order the same runs alike. */

/** The arithmetic mean; NaN of nothing. */
export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The sample standard deviation, with n − 1 below; undefined of fewer than two values. */
export function deviationOf(values: readonly number[]): number | undefined {
  if (values.length < 2) return undefined;
  const mean = meanOf(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}

/** The middle of the sorted values, of an even number the mean of the two in the middle; undefined of nothing. */
export function medianOf(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const [lower, upper] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return lower === undefined || upper === undefined ? undefined : (lower + upper) / 2;
}

/** The rank of each value from 1, equal values sharing the mean of their ranks. */
export function ranksOf(values: readonly number[]): readonly number[] {
  const sorted = values.toSorted((a, b) => a - b);
  return values.map((value) => (sorted.indexOf(value) + sorted.lastIndexOf(value)) / 2 + 1);
}

/** A rank correlation with its 95 % interval. */
export interface RankCorrelation {
  /** Spearman's coefficient, −1 to 1. */
  readonly coefficient: number;
  /** Pairs that it rests on. */
  readonly pairs: number;
  /** Absent with fewer than five pairs, and where the order is perfect. */
  readonly interval?: { readonly low: number; readonly high: number };
}

/** Of the standard normal distribution: 95 % lie within. */
const Z = 1.959963984540054;

/**
 * Spearman's rank correlation: Pearson's of the ranks, so that ties are right too. Its interval is Fisher's, with the
 * standard error √((1 + ρ²/2) / (n − 3)) of Bonett and Wright 2000. Undefined with fewer than three pairs, and where one side is all equal.
 * @param pairs values of both measures
 */
export function rankCorrelation(pairs: readonly (readonly [number, number])[]): RankCorrelation | undefined {
  if (pairs.length < 3) return undefined;
  const [first, second] = [ranksOf(pairs.map(([a]) => a)), ranksOf(pairs.map(([, b]) => b))];
  // The mean rank, ties or not.
  const middle = (pairs.length + 1) / 2;
  const product = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, rank, i) => sum + (rank - middle) * ((b[i] ?? NaN) - middle), 0);
  const spread = Math.sqrt(product(first, first) * product(second, second));
  if (spread === 0) return undefined;
  const coefficient = Math.max(-1, Math.min(1, product(first, second) / spread));
  if (pairs.length < 5 || 1 - Math.abs(coefficient) < 1e-12) return { coefficient, pairs: pairs.length };
  const half = Z * Math.sqrt((1 + coefficient ** 2 / 2) / (pairs.length - 3));
  return { coefficient, pairs: pairs.length, interval: { low: Math.tanh(Math.atanh(coefficient) - half), high: Math.tanh(Math.atanh(coefficient) + half) } };
}
