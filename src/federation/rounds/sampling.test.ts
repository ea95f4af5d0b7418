import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sampleClients } from "./sampling.ts";

const clients = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29];

describe("the clients of a round", () => {
  it("are so many as the fraction says, distinct, in ascending order, whatever order they are named in", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.double({ min: 0.01, max: 1, noNaN: true }), (round, fraction) => {
        const chosen = sampleClients(clients, { seed: 7, round, fraction, atLeast: 0 });
        expect(chosen).toHaveLength(Math.max(1, Math.round(fraction * 10)));
        expect(chosen).toEqual([...new Set(chosen)].toSorted((a, b) => a - b));
        expect(chosen.every((client) => clients.includes(client))).toBe(true);
      }),
    );
    expect(sampleClients(clients.toReversed(), { seed: 7, round: 1, fraction: 1, atLeast: 0 })).toEqual(clients);
  });

  it("change with round and seed, and come about equally often", () => {
    const counts = new Map<number, number>();
    for (let round = 1; round <= 400; round++) for (const client of sampleClients(clients, { seed: 7, round, fraction: 0.3, atLeast: 0 })) counts.set(client, (counts.get(client) ?? 0) + 1);
    // 120 expected, standard deviation 9.
    for (const client of clients) expect(Math.abs((counts.get(client) ?? 0) - 120)).toBeLessThan(37);
    const of = (seed: number): string => Array.from({ length: 5 }, (_, i) => sampleClients(clients, { seed, round: i + 1, fraction: 0.3, atLeast: 0 }).join()).join(" ");
    expect(of(7)).toBe(of(7));
    expect(of(8)).not.toBe(of(7));
  });

  it("are enough for the minimum", () => {
    expect(sampleClients(clients, { seed: 7, round: 1, fraction: 0.1, atLeast: 4 })).toHaveLength(4);
  });
});
