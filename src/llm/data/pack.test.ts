import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { microBatches, packExamples } from "./pack.ts";
import { stackClients } from "./stack.ts";
import { IGNORED_LABEL, type EncodedDataset, type PackedRows } from "./types.ts";

function share(values: readonly number[]): Int32Array<SharedArrayBuffer> {
  const out = new Int32Array(new SharedArrayBuffer(values.length * 4));
  out.set(values);
  return out;
}

/** A data set from examples written as lists of ids; negative ids are labelled (and stand for their absolute value). */
function dataset(examples: readonly (readonly number[])[]): EncodedDataset {
  const flat = examples.flat();
  let end = 0;
  return {
    ids: share(flat.map(Math.abs)),
    labels: share(flat.map((id) => (id < 0 ? -id : IGNORED_LABEL))),
    offsets: share([0, ...examples.map((e) => (end += e.length))]),
  };
}

const example = fc.array(fc.integer({ min: 1, max: 90 }).chain((id) => fc.constantFrom(id, -id)), { minLength: 1, maxLength: 11 });
const examples = fc.array(example, { minLength: 1, maxLength: 14 });

/** What a pack says about each example: its ids, and its (position, target) pairs. */
function unpack(pack: PackedRows): string[] {
  const found = new Map<string, { ids: number[]; targets: [number, number][] }>();
  for (let at = 0; at < pack.ids.length; at++) {
    if (pack.segments[at] === 0) {
      expect([pack.ids[at], pack.positions[at]]).toEqual([0, 0]);
      continue;
    }
    const key = `${Math.floor(at / pack.width)}:${pack.segments[at]}`;
    const one = found.get(key) ?? { ids: [], targets: [] };
    expect(pack.positions[at]).toBe(one.ids.length);
    one.ids.push(pack.ids[at] ?? 0);
    found.set(key, one);
  }
  for (const [i, at] of pack.labelledRows.entries()) {
    found.get(`${Math.floor(at / pack.width)}:${pack.segments[at]}`)?.targets.push([pack.positions[at] ?? 0, pack.targets[i] ?? 0]);
  }
  return [...found.values()].map((one) => JSON.stringify(one)).sort();
}

/** The same, straight from the examples: position p predicts the labelled id at p + 1. */
function expected(all: readonly (readonly number[])[]): string[] {
  return all
    .map((one) => JSON.stringify({ ids: one.map(Math.abs), targets: one.flatMap((id, p) => (p > 0 && id < 0 ? [[p - 1, -id]] : [])) }))
    .sort();
}

describe("a pack", () => {
  it("holds each example whole, with positions from 0 and the targets it has alone", () => {
    fc.assert(
      fc.property(examples, fc.integer({ min: 11, max: 30 }), (all, width) => {
        const pack = packExamples(dataset(all), all.map((_, i) => i), { width });
        expect(unpack(pack)).toEqual(expected(all));
        expect(pack.examples).toBe(all.length);
        expect(pack.tokens).toBe(all.flat().length);
      }),
    );
  });

  it("is as wide as its longest row and no wider than asked", () => {
    const pack = packExamples(dataset([[1, 2], [3, -4, 5], [6]]), [0, 1, 2], { width: 5 });
    expect([pack.rows, pack.width]).toEqual([2, 5]);
    expect([...pack.ids]).toEqual([3, 4, 5, 1, 2, 6, 0, 0, 0, 0]);
    expect([...pack.segments]).toEqual([1, 1, 1, 2, 2, 1, 0, 0, 0, 0]);
    expect(packExamples(dataset([[1, 2, 3]]), [0], { width: 512 }).width).toBe(3);
  });

  it("never takes the first token of an example for the target of the one before it", () => {
    const pack = packExamples(dataset([[1, 2, 3], [-7, -8]]), [0, 1], { width: 5 });
    expect([...pack.targets]).toEqual([8]);
    expect([...pack.labelledRows]).toEqual([3]);
  });

  it("lays an example out twice where it is asked for twice", () => {
    expect([...packExamples(dataset([[1, -2]]), [0, 0], { width: 4 }).ids]).toEqual([1, 2, 1, 2]);
  });

  it("refuses an example that is longer than a row", () => {
    expect(() => packExamples(dataset([[1, 2, 3]]), [0], { width: 2 })).toThrow(/packing: expected examples of at most 2 tokens, got one of 3/);
  });
});

describe("virtual tokens", () => {
  const virtual = { count: 3, firstId: 100 };

  it("stand in front of every example: positions count on from them, segments hold them", () => {
    const pack = packExamples(dataset([[1, -2], [3, -4, -5], [6]]), [0, 1, 2], { width: 11, virtual });
    expect([pack.rows, pack.width]).toEqual([2, 11]);
    expect([...pack.ids]).toEqual([100, 101, 102, 3, 4, 5, 100, 101, 102, 1, 2, 100, 101, 102, 6, ...Array<number>(7).fill(0)]);
    expect([...pack.positions]).toEqual([0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 0, 1, 2, 3, ...Array<number>(7).fill(0)]);
    expect([...pack.segments]).toEqual([1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 1, 1, 1, 1, ...Array<number>(7).fill(0)]);
  });

  it("take room in a row, and are neither counted as tokens nor labelled", () => {
    fc.assert(
      fc.property(examples, fc.integer({ min: 11, max: 30 }), (all, width) => {
        const indices = all.map((_, i) => i);
        const [bare, pack] = [packExamples(dataset(all), indices, { width }), packExamples(dataset(all), indices, { width: width + virtual.count, virtual })];
        expect([pack.tokens, pack.examples]).toEqual([bare.tokens, bare.examples]);
        expect(pack.width).toBeLessThanOrEqual(width + virtual.count);
        expect(pack.ids.filter((id) => id >= virtual.firstId)).toHaveLength(all.length * virtual.count);
        // Each example is what it is without them, further back in its row.
        const expectedWith = all.map((one) => {
          const ids = [...Array.from({ length: virtual.count }, (_, i) => virtual.firstId + i), ...one.map(Math.abs)];
          return JSON.stringify({ ids, targets: one.flatMap((id, p) => (p > 0 && id < 0 ? [[virtual.count + p - 1, -id]] : [])) });
        }).sort();
        expect(unpack(pack)).toEqual(expectedWith);
      }),
    );
  });

  it("are part of every micro-batch, and of what an example may be long at most", () => {
    const batches = microBatches(dataset([[1, -2], [3, -4]]), [0, 1], { width: 5, tokensPerMicroBatch: 5, virtual });
    expect(batches.map(({ ids }) => [...ids])).toEqual([[100, 101, 102, 1, 2], [100, 101, 102, 3, 4]]);
    expect(() => packExamples(dataset([[1, 2, 3]]), [0], { width: 5, virtual })).toThrow("packing: expected examples of at most 5 tokens, got one of 6");
  });
});

describe("micro-batches", () => {
  it("hold together what one pack holds, and stay within their tokens", () => {
    fc.assert(
      fc.property(examples, fc.integer({ min: 11, max: 20 }), fc.integer({ min: 1, max: 60 }), (all, width, tokensPerMicroBatch) => {
        const batches = microBatches(dataset(all), all.map((_, i) => i), { width, tokensPerMicroBatch });
        expect(batches.flatMap(unpack).sort()).toEqual(expected(all));
        for (const batch of batches) expect(batch.rows === 1 || batch.rows * batch.width <= tokensPerMicroBatch).toBe(true);
      }),
    );
  });

  it("are one batch where all rows fit", () => {
    expect(microBatches(dataset([[1, -2], [3, -4]]), [0, 1], { width: 2, tokensPerMicroBatch: 4 })).toHaveLength(1);
    expect(microBatches(dataset([[1, -2], [3, -4]]), [0, 1], { width: 2, tokensPerMicroBatch: 3 })).toHaveLength(2);
  });

  const ofLengths = (...lengths: readonly number[]): readonly (readonly [rows: number, width: number])[] =>
    microBatches(dataset(lengths.map((n) => Array.from({ length: n }, (_, i) => i + 1))), lengths.map((_, i) => i), { width: 512, tokensPerMicroBatch: 1024 }).map(({ rows, width }) => [rows, width]);

  it("have narrower rows than they may where attention over wide ones costs more than padding", () => {
    expect(ofLengths(200, 200, 200, 200)).toEqual([[4, 200]]);
    expect(ofLengths(250, 125, 125)).toEqual([[2, 250]]);
  });

  it("have in each pass rows as wide as its own examples want", () => {
    const passes = ofLengths(500, 500, ...Array.from({ length: 24 }, () => 40));
    expect(passes[0]).toEqual([2, 500]);
    expect(passes[1]?.[1]).toBeLessThan(130);
  });

  it("keep wide rows where narrow ones would be padded", () => {
    expect(ofLengths(300, 200)).toEqual([[1, 500]]);
  });
});

describe("clients side by side", () => {
  it("keep what each of them has alone, padded to common sizes with weight 0", () => {
    const data = dataset([[1, -2, 3], [-4, -5, -6, -7], [8, -9]]);
    const packs = [packExamples(data, [0, 2], { width: 3 }), undefined, packExamples(data, [1], { width: 4 })];
    const stacked = stackClients(packs);
    expect(stacked).toMatchObject({ clients: 3, rows: 2, width: 4, labelled: 3 });
    expect([...stacked.ids]).toEqual([1, 2, 3, 0, 8, 9, 0, 0, ...Array<number>(8).fill(0), 4, 5, 6, 7, 0, 0, 0, 0]);
    expect([...stacked.positions.subarray(0, 8)]).toEqual([0, 1, 2, 0, 0, 1, 0, 0]);
    expect([...stacked.segments.subarray(0, 8)]).toEqual([1, 1, 1, 0, 1, 1, 0, 0]);
    expect([...stacked.labelledRows]).toEqual([0, 4, 0, 0, 0, 0, 0, 1, 2]);
    expect([...stacked.targets]).toEqual([2, 9, 0, 0, 0, 0, 5, 6, 7]);
    expect([...stacked.weights]).toEqual([1, 1, 0, 0, 0, 0, 1, 1, 1]);
  });

  it("have at least one row, token and labelled entry, so that no shape is 0", () => {
    expect(stackClients([undefined])).toMatchObject({ rows: 1, width: 1, labelled: 1, weights: Float32Array.of(0) });
    const unlabelled = packExamples(dataset([[5, 6]]), [0], { width: 2 });
    expect(stackClients([unlabelled])).toMatchObject({ labelled: 1, weights: Float32Array.of(0), targets: Int32Array.of(0) });
  });
});
