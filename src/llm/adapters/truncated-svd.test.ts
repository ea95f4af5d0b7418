import fc from "fast-check";
import { Matrix, SingularValueDecomposition } from "ml-matrix";
import { describe, expect, test } from "vitest";
import { must } from "../../core/base/errors.ts";
import { normals, randomKey } from "../../core/base/random.ts";
import { largestSingularTriplets, type DenseMatrix, type SingularTriplets } from "./truncated-svd.ts";

const random = (rows: number, columns: number, seed = 1): DenseMatrix => ({ rows, columns, data: normals(randomKey(seed, "matrix"), [], rows * columns) });
const asMatrix = ({ rows, columns, data }: DenseMatrix): Matrix => Matrix.from1DArray(rows, columns, data);

/** Σ value · left rightᵀ, row by row. */
function product({ left, values, right }: SingularTriplets): number[] {
  const [rows, columns] = [left[0]?.length ?? 0, right[0]?.length ?? 0];
  return Array.from({ length: rows * columns }, (_, at) => left.reduce((sum, u, k) => sum + (values[k] ?? 0) * (u[Math.floor(at / columns)] ?? 0) * (must(right[k], "right")[at % columns] ?? 0), 0));
}

/** The same of a whole decomposition by the library. */
function leading(matrix: DenseMatrix, count: number): number[] {
  const whole = new SingularValueDecomposition(asMatrix(matrix), { autoTranspose: true });
  const vectors = (m: Matrix): Float64Array[] => Array.from({ length: count }, (_, k) => Float64Array.from(m.getColumn(k)));
  return product({ left: vectors(whole.leftSingularVectors), values: Float64Array.from(whole.diagonal.slice(0, count)), right: vectors(whole.rightSingularVectors) });
}

const largestDifference = (a: readonly number[], b: readonly number[]): number => a.reduce((worst, x, i) => Math.max(worst, Math.abs(x - (b[i] ?? Infinity))), 0);

describe("the largest singular triplets", () => {
  test("are those of the whole decomposition, of tall and of wide matrices, few and all", () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 70 }), fc.nat(100), fc.integer({ min: 0, max: 99 }), (rows, columns, seed, share) => {
      const matrix = random(rows, columns, seed);
      const count = 1 + Math.floor((share / 100) * Math.min(rows, columns));
      expect(largestDifference(product(largestSingularTriplets(matrix, count)), leading(matrix, count))).toBeLessThan(1e-9);
    }), { numRuns: 40, seed: 7 });
  });

  test("converge before the whole space is spanned", () => {
    const matrix = random(300, 170);
    expect(largestDifference(product(largestSingularTriplets(matrix, 3)), leading(matrix, 3))).toBeLessThan(1e-9);
  });

  test("have orthonormal vectors, values that fall, and the largest element of each left vector positive", () => {
    const { left, values, right } = largestSingularTriplets(random(31, 47), 5);
    for (const vectors of [left, right]) {
      vectors.forEach((a, i) => vectors.forEach((b, j) => expect(a.reduce((sum, x, at) => sum + x * (b[at] ?? 0), 0)).toBeCloseTo(i === j ? 1 : 0, 12)));
    }
    expect([...values].sort((a, b) => b - a)).toEqual([...values]);
    for (const u of left) expect(Math.max(...u)).toBe(Math.max(...u.map(Math.abs)));
  });

  test("of a matrix of low rank are its own, and zeros after them", () => {
    const [a, b] = [random(40, 2, 3), random(2, 33, 4)];
    const low = asMatrix(a).mmul(asMatrix(b));
    const { values, left } = largestSingularTriplets({ rows: 40, columns: 33, data: Float64Array.from(low.to1DArray()) }, 4);
    expect(values[1]).toBeGreaterThan(1);
    expect(Math.max(values[2] ?? 1, values[3] ?? 1)).toBeLessThan(1e-12);
    expect(left.every((u) => u.every(Number.isFinite))).toBe(true);
  });

  test("of a matrix whose values are all alike, and of zeros, are found", () => {
    const identity = { rows: 7, columns: 7, data: Float64Array.from({ length: 49 }, (_, i) => (i % 8 === 0 ? 3 : 0)) };
    largestSingularTriplets(identity, 5).values.forEach((x) => expect(x).toBeCloseTo(3, 12));
    expect([...largestSingularTriplets({ rows: 5, columns: 3, data: new Float64Array(15) }, 2).values]).toEqual([0, 0]);
  });

  test("are the same numbers every time", () => {
    expect(largestSingularTriplets(random(50, 60), 4)).toEqual(largestSingularTriplets(random(50, 60), 4));
  });
});
