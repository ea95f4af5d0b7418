import { expect, test } from "vitest";
import { learningRate } from "./schedule.ts";
import type { ScheduleSettings } from "./settings.ts";

const rates = (settings: Partial<ScheduleSettings>, steps: readonly number[], total: number): number[] =>
  steps.map((step) => Number(learningRate(0.8, { name: "constant", warmup_steps: 0, minimum: 0, ...settings }, step, total).toPrecision(12)));

test("warm-up rises by equal parts and reaches the peak at its last step", () => {
  for (const name of ["constant", "linear", "cosine"] as const) {
    expect(rates({ name, warmup_steps: 4 }, [0, 1, 2, 3, 4], 20)).toEqual([0.2, 0.4, 0.6, 0.8, 0.8]);
  }
});

test("a constant rate stays at the peak, also beyond the schedule's end", () => {
  expect(rates({}, [0, 7, 19, 30], 20)).toEqual([0.8, 0.8, 0.8, 0.8]);
});

test("a linear rate falls by equal parts over the steps after warm-up, and would be 0 at the step after the last", () => {
  expect(rates({ name: "linear", warmup_steps: 2 }, [2, 3, 6, 9, 10, 15], 10)).toEqual([0.8, 0.7, 0.4, 0.1, 0, 0]);
});

test("a cosine rate has lost half at half way, and less before than after", () => {
  expect(rates({ name: "cosine", warmup_steps: 2 }, [2, 6, 10], 10)).toEqual([0.8, 0.4, 0]);
  const [quarter = 0, rest = 0] = rates({ name: "cosine", warmup_steps: 2 }, [4, 8], 10);
  expect(quarter).toBeCloseTo(0.8 * 0.5 * (1 + Math.SQRT1_2), 12);
  expect(quarter + rest).toBeCloseTo(0.8, 12);
});

test("what is left at the end is the minimum, as a fraction of the peak", () => {
  expect(rates({ name: "linear", minimum: 0.25 }, [0, 5, 10], 10)).toEqual([0.8, 0.5, 0.2]);
  expect(rates({ name: "cosine", minimum: 0.25 }, [0, 5, 10], 10)).toEqual([0.8, 0.5, 0.2]);
});

test("a schedule that is all warm-up never divides by nothing", () => {
  expect(rates({ name: "linear", warmup_steps: 5 }, [0, 4, 5], 5)).toEqual([0.16, 0.8, 0.8]);
});
