import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fileURLToPath } from "node:url";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FactorPair } from "../../core/base/factor-pair.ts";
import { normals, randomKey } from "../../core/base/random.ts";
import { elementCount, tensor, type NamedTensors } from "../../core/base/tensor.ts";
import { shapeFault, valueFault } from "./check.ts";
import { crossTerm, type SharedUpdate } from "./cross-term.ts";
import { fedavg } from "./fedavg.ts";
import { loadStrategy } from "./load.ts";

const key = randomKey(3, "test");
const named = (entries: Record<string, [number[], number[] | Float64Array]>): NamedTensors<"float32"> =>
  new Map(Object.entries(entries).map(([name, [shape, data]]) => [name, tensor("float32", shape, Float32Array.from(data))]));

describe("fedavg", () => {
  it("is the mean weighted by share", () => {
    const updates = [
      { client: 2, share: 0.25, load: () => named({ a: [[2], [4, -8]] }) },
      { client: 5, share: 0.75, load: () => named({ a: [[2], [8, 4]] }) },
    ];
    expect(fedavg.aggregate({ round: 1, global: named({ a: [[2], [0, 0]] }), updates }).get("a")?.data).toEqual(Float32Array.of(7, 1));
  });

  it("gives back the update that equal clients agree on", () => {
    fc.assert(
      fc.property(fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 5 }), fc.array(fc.integer({ min: 1, max: 999 }), { minLength: 1, maxLength: 33 }), (values, weights) => {
        const total = weights.reduce((a, b) => a + b, 0);
        const same = named({ a: [[values.length], values] });
        const next = fedavg.aggregate({ round: 1, global: same, updates: weights.map((w, client) => ({ client, share: w / total, load: () => same })) });
        expect([...(next.get("a")?.data ?? [])].map((x) => x + 0)).toEqual(values.map((x) => Math.fround(x) + 0));
      }),
    );
  });
});

describe("an update", () => {
  const expected = named({ a: [[2, 3], new Float64Array(6)], b: [[1], [2]] });
  it.each([
    ["lacks a tensor", named({ a: [[2, 3], new Float64Array(6)] }), /client 7: expected tensor b, got an update without it/],
    ["has another shape", named({ a: [[3, 2], new Float64Array(6)], b: [[1], [2]] }), /expected a of shape \[2, 3\], got \[3, 2\]/],
    ["has a tensor too many", named({ a: [[2, 3], new Float64Array(6)], b: [[1], [2]], c: [[1], [2]] }), /got tensor c/],
    ["holds an infinity", named({ a: [[2, 3], [1, 2, Infinity, 4, 5, 6]], b: [[1], [2]] }), /a of finite numbers/],
    ["holds a NaN", named({ a: [[2, 3], new Float64Array(6)], b: [[1], [NaN]] }), /b of finite numbers/],
  ])("that %s is refused by name", (_name, update, message) => {
    const where = "federated, round 2, client 7";
    expect((shapeFault(expected, update, where) ?? valueFault(update, where))?.message).toMatch(message);
  });
  it("that fits is not", () => {
    expect(shapeFault(expected, expected, "here")).toBeUndefined();
    expect(valueFault(expected, "here")).toBeUndefined();
  });
});

describe("the cross term", () => {
  const pairs: FactorPair[] = [{ a: "A", b: "B", scaling: 2 }, { a: "A2", b: "B2", scaling: 0.5 }];
  const [R, O, D] = [2, 3, 5];
  const client = (i: number, spread: number): NamedTensors<"float32"> =>
    new Map(Object.entries({ A: [R, D], B: [O, R], A2: [R, O], B2: [D, R] }).map(([name, shape], t) => {
      const common = normals(key, [1000, t], elementCount(shape));
      return [name, tensor("float32", shape, Float32Array.from(normals(key, [i, t], common.length), (x, j) => (common[j] ?? 0) + spread * x))];
    }));
  const updates = (n: number, spread: number): SharedUpdate[] => Array.from({ length: n }, (_, i) => ({ share: (i + 1) / ((n * (n + 1)) / 2), tensors: client(i, spread) }));

  /** By the definition, forming every product. */
  function dense(shared: readonly SharedUpdate[]): number {
    let cross = 0;
    let whole = 0;
    for (const { a: down, b: up, scaling } of pairs) {
      const [o = 0, r = 0] = shared[0]?.tensors.get(up)?.shape ?? [];
      const [, d = 0] = shared[0]?.tensors.get(down)?.shape ?? [];
      const at = (tensors: NamedTensors<"float32">, name: string, i: number): number => tensors.get(name)?.data[i] ?? 0;
      const mean = (name: string, i: number): number => shared.reduce((sum, { share, tensors }) => sum + share * at(tensors, name, i), 0);
      for (let i = 0; i < o; i++) {
        for (let j = 0; j < d; j++) {
          let ofProducts = 0;
          let ofFactors = 0;
          for (let k = 0; k < r; k++) {
            ofFactors += mean(up, i * r + k) * mean(down, k * d + j);
            ofProducts += shared.reduce((sum, { share, tensors }) => sum + share * at(tensors, up, i * r + k) * at(tensors, down, k * d + j), 0);
          }
          cross += (scaling * (ofFactors - ofProducts)) ** 2;
          whole += (scaling * ofProducts) ** 2;
        }
      }
    }
    return Math.sqrt(cross / whole);
  }

  it.each([0.01, 0.7, 3])("equals its definition for clients that differ by %f", (spread) => {
    const shared = updates(4, spread);
    expect(crossTerm(pairs, shared)).toBeCloseTo(dense(shared), 10);
  });

  it("is estimated within a few per cent where the exact way is too dear", () => {
    const many = Array.from({ length: 24 }, (_, i): FactorPair => ({ a: `A${i}`, b: `B${i}`, scaling: 1 + i / 4 }));
    const factors = (c: number): NamedTensors<"float32"> =>
      named(Object.fromEntries(many.flatMap(({ a: down, b: up }, i) => [[down, [[4, 40], normals(key, [c, 2 * i, 7], 160)]], [up, [[30, 4], normals(key, [c, 2 * i + 1, 7], 120).map((x) => x + 1)]]])));
    const shared = [0.2, 0.3, 0.5].map((share, c) => ({ share, tensors: factors(c) }));
    const exact = crossTerm(many, shared, { budget: 1e9 }) ?? 0;
    expect(exact).toBeGreaterThan(0.3);
    const estimate = crossTerm(many, shared, { budget: 2e5 }) ?? 0;
    expect(estimate).not.toBe(exact);
    expect(Math.abs(estimate / exact - 1)).toBeLessThan(0.06);
  });

  it("is zero for equal clients and null without a product", () => {
    expect(crossTerm(pairs, updates(3, 0))).toBeLessThan(1e-12);
    expect(crossTerm([], updates(3, 1))).toBe(null);
    const zero = named({ A: [[1, 1], [0]], B: [[1, 1], [0]] });
    expect(crossTerm([{ a: "A", b: "B", scaling: 1 }], [{ share: 0.5, tensors: zero }, { share: 0.5, tensors: zero }])).toBe(null);
  });
});

describe("a strategy", () => {
  it("is found by name, or as a module of one's own", async () => {
    expect(await loadStrategy("fedavg")).toBe(fedavg);
    expect((await loadStrategy(fileURLToPath(new URL("own-strategy.fixture.ts", import.meta.url)))).name).toBe("first-client");
  });
  it("that is unknown is refused with the nearest name", async () => {
    await expect(loadStrategy("fedavgg")).rejects.toThrow(/federation.strategy: expected fedavg or the path of a module, got `fedavgg`. Did you mean `fedavg`\?/);
    await expect(loadStrategy("constructor")).rejects.toThrow(/expected fedavg/);
    await expect(loadStrategy("/nowhere/own.ts")).rejects.toThrow(/expected a module that exists/);
  });
  it("module without a strategy is refused", async () => {
    const path = join(mkdtempSync(join(tmpdir(), "fedtune-strategy-")), "empty.mjs");
    writeFileSync(path, "export const x = 3;");
    await expect(loadStrategy(path)).rejects.toThrow(/expected a default export with trainable, payload, aggregate, got no default export/);
  });
});
