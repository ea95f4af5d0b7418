import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { NO_SOURCES } from "../../../test/support/tiny-training.ts";
import { normals, randomKey } from "../../core/base/random.ts";
import type { LinearModule } from "../architectures/sites.ts";
import type { StartSources } from "./adapter.ts";
import { baseFactors, type Factors, type FactorStart } from "./base-factors.ts";
import { largestSingularTriplets } from "./truncated-svd.ts";

const [OUT, IN, R, SCALING] = [7, 11, 3, 2.5];
const W = Float32Array.from(normals(randomKey(2, "weight"), [], OUT * IN)); // [out, in]
const TRANSPOSED = Float32Array.from({ length: OUT * IN }, (_, at) => W[(at % OUT) * IN + Math.floor(at / OUT)] ?? 0);

function factorsOf(start: FactorStart, layout: LinearModule["layout"], counted?: () => void): { readonly find: (from: StartSources) => Factors; readonly from: StartSources } {
  const linear: LinearModule = { path: "q", inFeatures: IN, outFeatures: OUT, weight: "q.weight", layout, isHead: false };
  const base = (): Float32Array => {
    counted?.();
    return layout === "out_in" ? W : TRANSPOSED;
  };
  const nothing = (): Float64Array => new Float64Array(0);
  return { find: baseFactors(start, { linear, r: R, scaling: SCALING }), from: { ...NO_SOURCES, base, uniforms: nothing, normals: nothing } };
}

/** B A `[out, in]`. */
function product({ a, b }: Factors): number[] {
  return Array.from({ length: OUT * IN }, (_, at) => {
    let sum = 0;
    for (let k = 0; k < R; k++) sum += (b[Math.floor(at / IN) * R + k] ?? 0) * (a[k * IN + (at % IN)] ?? 0);
    return sum;
  });
}

describe.each(["out_in", "in_out"] as const)("factors of a weight that lies %s", (layout) => {
  const of = (start: FactorStart): Factors => {
    const { find, from } = factorsOf(start, layout);
    return find(from);
  };

  test("pissa: the scaled product is the weight's largest singular part, shared alike by both", () => {
    const { left, values, right } = largestSingularTriplets({ rows: OUT, columns: IN, data: W }, R);
    const expected = Array.from({ length: OUT * IN }, (_, at) => left.reduce((sum, u, k) => sum + (values[k] ?? 0) * (u[Math.floor(at / IN)] ?? 0) * (right[k]?.[at % IN] ?? 0), 0));
    const factors = of("pissa");
    expect(relativeError(product(factors).map((x) => SCALING * x), expected)).toBeLessThan(1e-6);
    for (let k = 0; k < R; k++) {
      const row = factors.a.subarray(k * IN, (k + 1) * IN);
      const column = factors.b.filter((_, at) => at % R === k);
      for (const part of [row, column]) expect(part.reduce((sum, x) => sum + x * x, 0)).toBeCloseTo((values[k] ?? 0) / SCALING, 5);
    }
  });

  test("olora: B is orthonormal, A is triangular, and their product has the weight's first columns", () => {
    const factors = of("olora");
    for (let k = 0; k < R; k++) {
      for (let l = 0; l < R; l++) {
        let dot = 0;
        for (let o = 0; o < OUT; o++) dot += (factors.b[o * R + k] ?? 0) * (factors.b[o * R + l] ?? 0);
        expect(dot).toBeCloseTo(k === l ? 1 : 0, 6);
        if (l < k) expect(Math.abs(factors.a[k * IN + l] ?? 1)).toBeLessThan(1e-6);
      }
    }
    const found = product(factors);
    for (let o = 0; o < OUT; o++) for (let i = 0; i < R; i++) expect(found[o * IN + i]).toBeCloseTo(W[o * IN + i] ?? 0, 5);
    // What is left of the other columns has nothing along B.
    for (let k = 0; k < R; k++) {
      for (let i = R; i < IN; i++) {
        let along = 0;
        for (let o = 0; o < OUT; o++) along += (factors.b[o * R + k] ?? 0) * ((W[o * IN + i] ?? 0) - (found[o * IN + i] ?? 0));
        expect(along).toBeCloseTo(0, 5);
      }
    }
  });
});

test("a weight is decomposed once for a base, and again for another", () => {
  let reads = 0;
  const { find, from } = factorsOf("pissa", "out_in", () => { reads++; });
  expect(find(from)).toBe(find({ ...from }));
  expect(reads).toBe(1);
  find({ ...from, base: () => W });
  find(from);
  expect(reads).toBe(1);
});
