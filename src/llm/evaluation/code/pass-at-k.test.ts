/** pass@k against the combinations that it stands for. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { passAtK } from "./pass-at-k.ts";

/** C(n, k) by Pascal's triangle, exact below 2^53. */
function choose(n: number, k: number): number {
  return k < 0 || k > n ? 0 : k === 0 || k === n ? 1 : choose(n - 1, k - 1) + choose(n - 1, k);
}

test("it is one less the share of k-subsets without a passing sample", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 14 }), fc.nat(14), fc.nat(14), (n, passed, k) => {
      const c = Math.min(passed, n);
      const size = Math.min(Math.max(k, 1), n);
      expect(passAtK(n, c, size)).toBeCloseTo(1 - choose(n - c, size) / choose(n, size), 12);
    }),
  );
});

test("it does not overflow for many samples", () => {
  // 1 - (99·98·…·90)/(100·…·91) = k/n for one passing sample
  expect(passAtK(1000, 1, 100)).toBeCloseTo(0.1, 12);
  expect(passAtK(5, 2, 1)).toBeCloseTo(0.4, 12);
});

test("more than were drawn cannot be estimated", () => {
  expect(() => passAtK(3, 1, 4)).toThrow("pass@4 of 3 samples");
});
