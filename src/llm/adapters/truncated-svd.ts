/**
 * The largest singular triplets of a matrix, by Golub-Kahan-Lanczos bidiagonalisation with full reorthogonalisation
 * (Golub & Van Loan, Matrix Computations, 4th edition, section 10.4): a weight's leading part at a fraction of the cost of all.
 */
import { Matrix, SingularValueDecomposition } from "ml-matrix";
import { must } from "../../core/base/errors.ts";
import { normals, randomKey } from "../../core/base/random.ts";

/** A matrix `[rows, columns]`, row by row. */
export interface DenseMatrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float32Array | Float64Array;
}

export interface SingularTriplets {
  /** Left singular vectors, `rows` long, largest value first. */
  readonly left: readonly Float64Array[];
  readonly values: Float64Array;
  /** Right singular vectors, `columns` long. */
  readonly right: readonly Float64Array[];
}

/** Residual of a triplet, relative to the largest singular value, at which it counts as found. */
const TOLERANCE = 1e-11;
/** A vector this small beside the largest of the bidiagonal is rounding: the subspace is complete. */
const BREAKDOWN = 1e-14;

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}

function addScaled(to: Float64Array, factor: number, from: Float64Array): void {
  for (let i = 0; i < to.length; i++) to[i] = (to[i] ?? 0) + factor * (from[i] ?? 0);
}

/** M v, `rows` long. */
function times({ rows, columns, data }: DenseMatrix, v: Float64Array): Float64Array {
  const out = new Float64Array(rows);
  for (let r = 0, at = 0; r < rows; r++) {
    let sum = 0;
    for (let c = 0; c < columns; c++, at++) sum += (data[at] ?? 0) * (v[c] ?? 0);
    out[r] = sum;
  }
  return out;
}

/** Mᵀ u, `columns` long. */
function timesTransposed({ rows, columns, data }: DenseMatrix, u: Float64Array): Float64Array {
  const out = new Float64Array(columns);
  for (let r = 0, at = 0; r < rows; r++) {
    const factor = u[r] ?? 0;
    for (let c = 0; c < columns; c++, at++) out[c] = (out[c] ?? 0) + factor * (data[at] ?? 0);
  }
  return out;
}

/** Takes from `x` what lies along `basis`, twice against rounding, and gives it length 1. Returns the length it had. */
function orthonormalise(x: Float64Array, basis: readonly Float64Array[]): number {
  for (let pass = 0; pass < 2; pass++) for (const b of basis) addScaled(x, -dot(x, b), b);
  const length = Math.sqrt(dot(x, x));
  if (length > 0) x.forEach((value, i) => { x[i] = value / length; });
  return length;
}

/** A matrix by what it does to vectors; not wider than tall. */
interface TallOperator {
  readonly columns: number;
  /** M v. */
  apply(v: Float64Array): Float64Array;
  /** Mᵀ u. */
  applyTransposed(u: Float64Array): Float64Array;
}

/** M V = U B with orthonormal U and V, and B upper bidiagonal: `diagonal` and, above it, `above`. Exact once V has all columns. */
class Bidiagonalisation {
  readonly #matrix: TallOperator;
  readonly left: Float64Array[] = [];
  readonly right: Float64Array[] = [];
  readonly diagonal: number[] = [];
  readonly above: number[] = [];
  #draws = 0;

  constructor(matrix: TallOperator) {
    this.#matrix = matrix;
    this.#addRight(new Float64Array(matrix.columns));
  }

  /** Joins `x`, made orthonormal, to a basis; where nothing is left of it, another direction in its place. Returns its length. */
  #join(x: Float64Array, basis: Float64Array[]): number {
    const length = orthonormalise(x, basis);
    if (length > BREAKDOWN * Math.max(0, ...this.diagonal)) {
      basis.push(x);
      return length;
    }
    // The same draws for every matrix of these sizes: the triplets depend on the matrix alone.
    const fresh = normals(randomKey(this.#draws++, "singular vectors"), [], x.length);
    orthonormalise(fresh, basis);
    basis.push(fresh);
    return 0;
  }

  #addRight(x: Float64Array): number {
    return this.#join(x, this.right);
  }

  /** One more column of B. */
  extend(): void {
    const at = this.left.length;
    const u = this.#matrix.apply(must(this.right[at], "right vector"));
    this.diagonal.push(this.#join(u, this.left));
    if (this.right.length < this.#matrix.columns) this.above.push(this.#addRight(this.#matrix.applyTransposed(must(this.left[at], "left vector"))));
    else this.above.push(0);
  }

  /** The triplets of B as a small decomposition, largest first, and the residual of each. */
  solve() {
    const k = this.left.length;
    const small = Matrix.zeros(k, k);
    for (let i = 0; i < k; i++) {
      small.set(i, i, must(this.diagonal[i], "diagonal"));
      if (i + 1 < k) small.set(i, i + 1, must(this.above[i], "above"));
    }
    const decomposition = new SingularValueDecomposition(small);
    const left = decomposition.leftSingularVectors;
    const beyond = must(this.above.at(-1), "above");
    return { values: decomposition.diagonal, left, right: decomposition.rightSingularVectors, residual: (i: number) => Math.abs(beyond * left.get(k - 1, i)) };
  }
}

function combine(basis: readonly Float64Array[], weights: Matrix, column: number): Float64Array {
  const out = new Float64Array(basis[0]?.length ?? 0);
  basis.slice(0, weights.rows).forEach((b, i) => addScaled(out, weights.get(i, column), b));
  return out;
}

/**
 * The `count` largest singular triplets of a matrix, count ≤ min(rows, columns). The sign of each pair of vectors is the one
 * that makes the largest element of the left vector positive. A function of the matrix alone.
 */
export function largestSingularTriplets(matrix: DenseMatrix, count: number): SingularTriplets {
  const { rows, columns } = matrix;
  const [apply, applyTransposed] = [(v: Float64Array) => times(matrix, v), (u: Float64Array) => timesTransposed(matrix, u)];
  const isTall = rows >= columns;
  const most = isTall ? columns : rows;
  const basis = new Bidiagonalisation(isTall ? { columns, apply, applyTransposed } : { columns: rows, apply: applyTransposed, applyTransposed: apply });
  let size = Math.min(most, 3 * count + 24);
  for (;;) {
    while (basis.left.length < size) basis.extend();
    const solved = basis.solve();
    const wanted = Array.from({ length: count }, (_, i) => i);
    if (size === most || wanted.every((i) => solved.residual(i) <= TOLERANCE * (solved.values[0] ?? 0))) {
      const outer = wanted.map((i) => combine(basis.left, solved.left, i));
      const inner = wanted.map((i) => combine(basis.right, solved.right, i));
      const [left, right] = isTall ? [outer, inner] : [inner, outer];
      left.forEach((u, i) => {
        const largest = u.reduce((best, x) => (Math.abs(x) > Math.abs(best) ? x : best), 0);
        if (largest >= 0) return;
        for (const vector of [u, must(right[i], "right vector")]) vector.forEach((x, at) => { vector[at] = -x; });
      });
      return { left, values: Float64Array.from(wanted, (i) => solved.values[i] ?? 0), right };
    }
    size = Math.min(most, Math.ceil(1.4 * size));
  }
}
