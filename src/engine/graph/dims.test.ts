import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bindDim, broadcastShapes, factorOf, multiplyDims, symbolsOf, type Dim } from "./dims.ts";

const dim: fc.Arbitrary<Dim> = fc.oneof(fc.integer({ min: 1, max: 7 }), fc.constantFrom("B", "T", "H"));
const bindings = new Map([["B", 2], ["T", 3], ["H", 5]]);

describe("dimensions", () => {
  test("a product is written with its factor first and its symbols in order", () => {
    expect(multiplyDims("T", 3, "B")).toBe("3*B*T");
    expect(multiplyDims("T", 1, "T")).toBe("T*T");
  });

  test("a product of numbers is a number, and so is one with a zero", () => {
    expect(multiplyDims(2, 3, 7)).toBe(42);
    expect(multiplyDims()).toBe(1);
    expect(multiplyDims("T", 0)).toBe(0);
  });

  test("factor and symbols of a product can be read back", () => {
    expect([factorOf("6*B*T"), symbolsOf("6*B*T")]).toEqual([6, ["B", "T"]]);
    expect([factorOf("T"), symbolsOf("T")]).toEqual([1, ["T"]]);
    expect([factorOf(7), symbolsOf(7)]).toEqual([7, []]);
  });

  test("products do not depend on the order or the grouping of their factors", () => {
    fc.assert(fc.property(fc.array(dim, { minLength: 2, maxLength: 5 }), fc.nat(4), (dims, cut) => {
      const grouped = multiplyDims(multiplyDims(...dims.slice(cut)), multiplyDims(...dims.slice(0, cut)));
      expect(grouped).toBe(multiplyDims(...dims));
    }));
  });

  test("binding a product multiplies the bound values", () => {
    fc.assert(fc.property(fc.array(dim, { maxLength: 5 }), (dims) => {
      const product = dims.reduce((n: number, d) => n * (typeof d === "number" ? d : (bindings.get(d) ?? Number.NaN)), 1);
      expect(bindDim(multiplyDims(...dims), bindings)).toBe(product);
    }));
  });

  test("binding without a value names dimension and symbol", () => {
    expect(() => bindDim("2*B*Q", bindings)).toThrow("dimension 2*B*Q: symbol Q is not bound");
  });
});

describe("broadcasting of shapes", () => {
  test("ones and missing axes take the other side's length, symbols included", () => {
    expect(broadcastShapes(["B", 1, 5], ["T", 1])).toEqual(["B", "T", 5]);
    expect(broadcastShapes([], [2, "T"])).toEqual([2, "T"]);
    expect(broadcastShapes([0, 3], [1, 1])).toEqual([0, 3]);
  });

  test("different lengths do not fit, nor does a symbol fit a number", () => {
    expect(broadcastShapes([2, 3], [3, 2])).toBeUndefined();
    expect(broadcastShapes(["T"], [3])).toBeUndefined();
    expect(broadcastShapes(["T"], ["B"])).toBeUndefined();
  });
});
