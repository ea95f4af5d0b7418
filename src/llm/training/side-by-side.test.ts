import { expect, test } from "vitest";
import { tensor } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import { runSideBySide, shareOut, sumInOrder } from "./side-by-side.ts";

const scalar = (x: number): Tensor<"float32"> => tensor("float32", [1], Float32Array.of(x));
const work = (sizes: readonly number[]) => sizes.map((size, i) => ({ size, feeds: () => ({ x: scalar(i) }) }));

/** Answers with ten times what it is fed, after some turns of the event loop. */
function runner(seen: number[], failsAt?: number) {
  return {
    run: async ({ x }: Readonly<Record<string, Tensor>>) => {
      const i = Number(x?.data[0]);
      seen.push(i);
      for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
      if (i === failsAt) throw new Error(`pass ${i} failed`);
      return { y: scalar(10 * i) };
    },
  };
}

test("work is shared out by size, the largest first", () => {
  expect(shareOut([5, 5, 5, 5], 2).map((share) => share.length)).toEqual([2, 2]);
  const sizes = [1, 9, 2, 3, 3];
  const loads = shareOut(sizes, 2).map((share) => share.reduce((sum, i) => sum + (sizes[i] ?? 0), 0));
  expect(loads.toSorted((a, b) => a - b)).toEqual([9, 9]);
  expect(shareOut([7], 3).flat()).toEqual([0]);
  expect(shareOut([4, 4, 4], 2).flat().toSorted((a, b) => a - b)).toEqual([0, 1, 2]);
});

test("outputs come in the order of the passes, whoever made them", async () => {
  const [own, other]: [number[], number[]] = [[], []];
  const outputs = await runSideBySide([runner(own), runner(other)], work([3, 2, 2, 1, 8]), () => undefined);
  expect(outputs.map(({ y }) => y?.data[0])).toEqual([0, 10, 20, 30, 40]);
  expect([...own, ...other].toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4]);
  expect(Math.min(own.length, other.length)).toBeGreaterThan(0);
});

test("a check that throws stops what has not begun, but waits for what runs", async () => {
  const [own, other]: [number[], number[]] = [[], []];
  let ended = false;
  const slow = { run: async (feeds: Readonly<Record<string, Tensor>>) => { const out = await runner(other).run(feeds); ended = true; return out; } };
  let asked = 0;
  await expect(runSideBySide([runner(own), slow], work([1, 1]), () => { if (++asked === 2) throw new Error("interrupted"); })).rejects.toThrow("interrupted");
  expect([own, other.length, ended]).toEqual([[], 1, true]);
});

test("a runner has at most two passes before it has answered", async () => {
  let [outstanding, most] = [0, 0];
  const other = { run: async (feeds: Readonly<Record<string, Tensor>>) => { most = Math.max(most, ++outstanding); const out = await runner([]).run(feeds); outstanding--; return out; } };
  const outputs = await runSideBySide([runner([]), other], work(Array.from({ length: 12 }, () => 1)), () => undefined);
  expect([outputs.length, most, outstanding]).toEqual([12, 2, 0]);
});

test("after a pass that fails no other begins, and those that run end first", async () => {
  const [own, other]: [number[], number[]] = [[], []];
  let ended = 0;
  const counted = { run: async (feeds: Readonly<Record<string, Tensor>>) => { try { return await runner(other, 11).run(feeds); } finally { ended++; } } };
  await expect(runSideBySide([runner(own), counted], work(Array.from({ length: 12 }, (_, i) => 1 + i)), () => undefined)).rejects.toThrow("pass 11 failed");
  expect([own.length + other.length < 12, ended]).toEqual([true, other.length]);
});

test("a pass that fails fails the step, on whatever thread", async () => {
  for (const failing of [0, 1]) await expect(runSideBySide([runner([], failing), runner([], failing)], work([1, 1]), () => undefined)).rejects.toThrow(`pass ${failing} failed`);
});

test("gradients are added up in float32 in the order of the passes", () => {
  const [a, b, c] = [1e8, 1, -1e8];
  expect(sumInOrder([a, b, c].map(scalar)).data[0]).toBe(Math.fround(Math.fround(a + b) + c));
  expect(sumInOrder([a, c, b].map(scalar)).data[0]).toBe(1);
  const first = scalar(2);
  sumInOrder([first, scalar(3)]);
  expect(first.data[0]).toBe(2);
});
