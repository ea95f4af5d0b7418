import { expect, test } from "vitest";
import { randomDataset } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { GraphBuilder } from "../../engine/graph/builder.ts";
import { dropout } from "../../engine/graph/operations.ts";
import { evaluateReference, toReference } from "../../engine/runtime/reference.ts";
import { packExamples } from "../data/pack.ts";
import { stackClients } from "../data/stack.ts";
import type { PackedRows } from "../data/types.ts";
import { dropoutFeeds, type MaskCounter } from "./dropout.ts";

const data = randomDataset([90, 70, 40, 13, 5], 61);
const pack = (...indices: number[]): PackedRows => packExamples(data, indices, { width: 90 });
const MASKS = [{ name: "mask q", width: 35 }, { name: "mask v", width: 24 }];

/** The masks of these packs, one list of rows `[T · width]` a client and site. */
function masksOf(packs: readonly (PackedRows | undefined)[], counters: readonly MaskCounter[], { seed = 3, p = 0.3 } = {}): Record<string, Uint8Array[]> {
  const batch = stackClients(packs);
  const feeds = dropoutFeeds({ seed, p, masks: MASKS }, packs, counters, batch);
  return Object.fromEntries(MASKS.map(({ name, width }) => {
    const { data: mask, shape } = must(feeds[name], name);
    expect(shape).toEqual([packs.length, batch.rows * batch.width, width]);
    return [name, packs.flatMap((own, c) => Array.from({ length: own?.rows ?? 0 }, (_, row) => {
      const start = (c * batch.rows + row) * batch.width * width;
      return Uint8Array.from(mask.subarray(start, start + must(own, "pack").width * width) as Uint8Array);
    }))];
  }));
}

const one = (counter: MaskCounter = [4, 2, 0], options = {}) => masksOf([pack(0, 1, 2)], [counter], options);

test.each([0.05, 0.3, 0.75])("keeps a fraction of 1 − p: p = %f", (p) => {
  for (const rows of Object.values(one([4, 2, 0], { p }))) {
    const bits = rows.flatMap((row) => [...row]);
    const kept = bits.reduce((sum, bit) => sum + bit, 0) / bits.length;
    expect(Math.abs(kept - (1 - p))).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / bits.length));
  }
});

test("what is kept is scaled by 1 / (1 − p), so that the mean stays", () => {
  const batch = stackClients([pack(0, 1, 2)]);
  const mask = must(dropoutFeeds({ seed: 3, p: 0.3, masks: MASKS }, [pack(0, 1, 2)], [[4, 2, 0]], batch)["mask q"], "mask");
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", mask.shape);
  builder.output("y", dropout(x, builder.input("mask", "bool", mask.shape), 0.3));
  const input = { dtype: "float32" as const, shape: mask.shape, data: new Float64Array(mask.data.length).fill(7) };
  const y = must(evaluateReference(builder.finish(), new Map([["x", input], ["mask", toReference(mask)]])).get("y"), "y").data;
  expect([...new Set(y)].sort((a, b) => a - b)).toEqual([0, 7 / (1 - 0.3)]);
  expect(Math.abs(y.reduce((sum, v) => sum + v, 0) / y.length / 7 - 1)).toBeLessThan(0.03);
});

test("the same place has the same mask; another client, step, pass, module or seed another", () => {
  expect(one()).toEqual(one());
  const others = [one(), one([5, 2, 0]), one([4, 3, 0]), one([4, 2, 1]), one([4, 2, 0], { seed: 4 })].map((masks) => String(masks["mask v"]));
  expect(new Set(others).size).toBe(5);
  const [q = [], v = []] = [one()["mask q"]?.[0], one()["mask v"]?.[0]].map((row) => [...must(row, "row")].slice(0, 500));
  expect(q).not.toEqual(v);
});

test("rows of one pack have masks of their own", () => {
  const [first, second] = must(one()["mask q"], "masks");
  expect([...must(first, "row")].slice(0, 500)).not.toEqual([...must(second, "row")].slice(0, 500));
});

test("a client's mask does not depend on its neighbours, larger, smaller or absent", () => {
  const own = packExamples(data, [2, 3, 4], { width: 45 });
  const alone = masksOf([own], [[7, 1, 0]]);
  const together = masksOf([pack(0, 1), own, undefined, pack(4)], [[4, 1, 0], [7, 1, 0], [9, 1, 0], [2, 1, 0]]);
  expect(own).toMatchObject({ rows: 2, width: 45 });
  for (const { name } of MASKS) expect(together[name]?.slice(2, 4)).toEqual(alone[name]);
});
