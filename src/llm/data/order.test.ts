import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { examplesOfStep } from "./order.ts";

const setting = fc.record({
  seed: fc.nat(1000),
  client: fc.nat(50),
  n: fc.integer({ min: 1, max: 23 }),
  batchSize: fc.integer({ min: 1, max: 9 }),
});

/** Examples of the first `steps` steps, end to end. */
function firstSteps(steps: number, { seed, client, n, batchSize }: { seed: number; client: number; n: number; batchSize: number }): number[] {
  const examples = Int32Array.from({ length: n }, (_, i) => 100 + 3 * i);
  return Array.from({ length: steps }, (_, step) => [...examplesOfStep({ seed, client, examples, step, batchSize })]).flat();
}

describe("the examples of a step", () => {
  it("are exactly batch_size, and each epoch holds every example once, also where a step straddles two", () => {
    fc.assert(
      fc.property(setting, (s) => {
        const seen = firstSteps(Math.ceil((3 * s.n) / s.batchSize), s);
        expect(seen).toHaveLength(Math.ceil((3 * s.n) / s.batchSize) * s.batchSize);
        const all = Array.from({ length: s.n }, (_, i) => 100 + 3 * i);
        for (let epoch = 0; epoch < 3; epoch++) expect(seen.slice(epoch * s.n, (epoch + 1) * s.n).sort((a, b) => a - b)).toEqual(all);
      }),
    );
  });

  it("differ between epochs, clients and seeds, and are the same each time they are asked for", () => {
    const base = { seed: 5, client: 2, n: 20, batchSize: 20 };
    const [first, second] = [firstSteps(2, base).slice(0, 20), firstSteps(2, base).slice(20)];
    expect(first).not.toEqual(second);
    expect(firstSteps(1, { ...base, client: 3 })).not.toEqual(first);
    expect(firstSteps(1, { ...base, seed: 6 })).not.toEqual(first);
    expect(firstSteps(1, base)).toEqual(first);
  });

  it("come several times over where there are fewer examples than batch_size", () => {
    const seen = firstSteps(1, { seed: 1, client: 0, n: 2, batchSize: 5 });
    expect([seen.filter((e) => e === 100).length, seen.filter((e) => e === 103).length].sort((a, b) => a - b)).toEqual([2, 3]);
  });
});
