/** Numbers compared: relative errors of whole tensors, and derivatives by central differences in float64. */

/**
 * Largest difference of two arrays, relative to the largest finite number expected (at least 1e-3, so that noise about
 * zero stays noise). Infinity where lengths differ, or where one is NaN or infinite and the other is not the same.
 */
export function relativeError(actual: ArrayLike<number | bigint>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  const wanted = Array.from(expected);
  const scale = wanted.filter(Number.isFinite).reduce((max, x) => Math.max(max, Math.abs(x)), 1e-3);
  return wanted.reduce((worst, x, i) => {
    const y = Number(actual[i]);
    if (Object.is(x, y) || x === y) return worst;
    const error = Math.abs(x - y) / scale;
    return Number.isFinite(error) ? Math.max(worst, error) : Infinity;
  }, 0);
}

/** Derivative of `f` by each element of `x`: (f(x + h) − f(x − h)) / 2h. `f` reads `x`, which is changed and restored. */
export function centralDifferences(f: () => number, x: Float64Array, h = 1e-5): Float64Array {
  return x.map((value, i) => {
    x[i] = value + h;
    const above = f();
    x[i] = value - h;
    const below = f();
    x[i] = value;
    return (above - below) / (2 * h);
  });
}
