import { describe, expect, test } from "vitest";
import { elementCount } from "../../core/base/tensor.ts";
import { must } from "../../core/base/errors.ts";
import { allocateRanks, budgetAt, type AllocationRule, type TripletModule } from "./rank-allocation.ts";

/** Ranks 3, 4 and 3 of modules of different sizes. */
const MODULES: readonly TripletModule[] = [[3, 2, 5], [4, 5, 3], [3, 3, 2]].map(([rank = 0, inFeatures = 0, outFeatures = 0], i) => ({ a: `${i}.A`, e: `${i}.E`, b: `${i}.B`, rank, inFeatures, outFeatures }));
const SIZES = MODULES.flatMap(({ a, e, b, rank, inFeatures, outFeatures }): [string, number][] => [[a, rank * inFeatures], [e, rank], [b, rank * outFeatures]]);
const RULE: AllocationRule = { targetBudget: 3, tinit: 1, tfinal: 2, deltaT: 1, beta1: 0.85, beta2: 0.6, total_step: 8 };

/** Steps on tensors that follow sine waves: values as an optimiser might leave them, and gradients. */
class Waves {
  readonly control;
  readonly state: ReadonlyMap<string, Float32Array>;
  parameters = new Map<string, Float32Array>();

  constructor(rule: AllocationRule) {
    this.control = allocateRanks(MODULES, rule);
    this.state = new Map(this.control.state.map(({ name, shape }) => [name, new Float32Array(elementCount(shape))]));
  }

  wave(step: number, phase: number): Map<string, Float32Array> {
    return new Map(SIZES.map(([name, size], k) => [name, Float32Array.from({ length: size }, (_, i) => Math.sin(0.7 * step + 1.3 * k + 0.9 * i + phase))]));
  }

  /** Takes a step and says which singular values stay: a word of digits for each module. */
  step(step: number, { before = this.parameters, totalSteps = 99 } = {}): string {
    const [values, slopes] = [this.wave(step, 0), this.wave(step, 2.1)];
    this.control.afterStep({
      step, totalSteps, parameter: (name) => must(values.get(name), name), before: (name) => must(before.get(name), name),
      gradient: (name) => must(slopes.get(name), name), state: (name) => must(this.state.get(name), name),
    });
    this.parameters = values;
    return MODULES.map(({ e }) => [...must(values.get(e), e)].map((x) => Number(x !== 0)).join("")).join(" ");
  }

  steps(count: number): string[] {
    return Array.from({ length: count }, (_, i) => this.step(i + 1));
  }

  forget(): void {
    for (const kept of this.state.values()) kept.fill(0);
  }
}

const ALL = "111 1111 111";

describe("the allocation of ranks", () => {
  // What PEFT 0.21.2's RankAllocator keeps of the same waves in float64.
  test.each([
    [RULE, [ALL, "101 1010 110", "001 0010 110", "010 0100 100", "010 0001 001", "010 0001 001", "010 0001 001", "010 0001 001"]],
    [{ ...RULE, targetBudget: 6, tinit: 2, tfinal: 1, deltaT: 3, total_step: 9 }, [ALL, ALL, "101 1111 110", ALL, ALL, "100 1011 011", ALL, "101 1010 110", "101 1010 110"]],
  ])("masks what PEFT masks, step by step: %o", (rule, expected) => {
    expect(new Waves(rule).steps(expected.length)).toEqual(expected);
  });

  test("follows the paper: smoothed sensitivity times uncertainty, the value's plus the means of its vectors'", () => {
    const waves = new Waves({ ...RULE, tinit: 2, total_step: 6, tfinal: 0 });
    waves.steps(3);
    const smoothed = new Map<string, number[]>();
    const varied = new Map<string, number[]>();
    const fresh = new Waves(RULE);
    for (const step of [1, 2, 3]) {
      for (const [name, values] of fresh.wave(step, 0)) {
        const slopes = must(fresh.wave(step, 2.1).get(name), name);
        const mean = Array.from(values, (w, i) => 0.85 * (smoothed.get(name)?.[i] ?? 0) + 0.15 * Math.abs(w * (slopes[i] ?? 0)));
        varied.set(name, Array.from(values, (w, i) => 0.6 * (varied.get(name)?.[i] ?? 0) + 0.4 * Math.abs(Math.abs(w * (slopes[i] ?? 0)) - (mean[i] ?? 0))));
        smoothed.set(name, mean);
      }
    }
    const score = (name: string, at: readonly number[]): number => at.reduce((sum, i) => sum + (smoothed.get(name)?.[i] ?? 0) * (varied.get(name)?.[i] ?? 0), 0) / at.length;
    const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
    const scores = MODULES.flatMap(({ a, e, b, rank, inFeatures, outFeatures }) => range(rank).map((k) => score(e, [k]) + score(a, range(inFeatures).map((i) => k * inFeatures + i)) + score(b, range(outFeatures).map((o) => o * rank + k))));
    const kept = budgetAt(3, 10, { targetBudget: 3, tinit: 2, tfinal: 0, total: 6 });
    const least = scores.toSorted((x, y) => y - x)[kept - 1] ?? 0;
    expect(kept).toBe(5);
    expect(MODULES.flatMap(({ e }) => [...must(waves.parameters.get(e), e)].map((x) => x !== 0))).toEqual(scores.map((s) => s >= least));
  });

  test("lets the budget fall with the cube of the steps that are left", () => {
    const rule = { targetBudget: 20, tinit: 10, tfinal: 30, total: 140 };
    // (120 − 20) · (1 − t)³ + 20 for t = 0, 0.1, 0.5, 0.9, 1, rounded down.
    expect([10, 20, 60, 100, 110].map((step) => budgetAt(step, 120, rule))).toEqual([120, 92, 32, 20, 20]);
  });

  test("takes the client's own schedule where total_step is left out", () => {
    const { total_step, ...own } = RULE;
    const [given, taken] = [new Waves(RULE), new Waves(own)];
    expect([1, 2, 3, 4, 5, 6, 7, 8].map((step) => taken.step(step, { totalSteps: total_step ?? 0 }))).toEqual(given.steps(8));
  });

  test("takes nothing where the schedule has no step between tinit and tfinal", () => {
    expect(new Waves({ ...RULE, total_step: 3 }).steps(5)).toEqual([ALL, ALL, ALL, ALL, ALL]);
  });

  test("takes nothing where the target is not below what there is", () => {
    expect(new Waves({ ...RULE, targetBudget: 12, tinit: 4 }).steps(8)).toEqual(Array.from({ length: 8 }, () => ALL));
  });
});

describe("after the last allocation", () => {
  test("a singular value that a step finds at 0 stays there, in rounds that start without any state too", () => {
    const waves = new Waves(RULE);
    const last = waves.steps(6).at(-1);
    waves.forget();
    expect([waves.step(7), waves.step(8)]).toEqual([last, last]);
  });

  test("one that another client kept is not masked again", () => {
    const waves = new Waves(RULE);
    waves.steps(6);
    const averaged = new Map([...waves.parameters].map(([name, values]) => [name, name === "0.E" ? values.map((x) => x + 0.25) : values]));
    expect(waves.step(7, { before: averaged })).toBe("111 0001 001");
  });

  test("the scores are forgotten", () => {
    const waves = new Waves(RULE);
    waves.steps(6);
    expect([...waves.state.values()].every((kept) => kept.every((x) => x === 0))).toBe(true);
  });
});

describe("the last allocation", () => {
  test("decides by its own step's gradient where a round begins there without scores", () => {
    const waves = new Waves(RULE);
    waves.steps(5);
    waves.forget();
    const kept = waves.step(6).replaceAll(/[0 ]/g, "");
    expect(kept).toHaveLength(3);
  });

  test("is made up for where its step was skipped", () => {
    const waves = new Waves({ ...RULE, deltaT: 4 });
    for (const step of [1, 2, 3, 4, 5]) waves.step(step);
    expect(waves.step(7).replaceAll(/[0 ]/g, "")).toHaveLength(3);
    expect([...waves.state.values()].every((kept) => kept.every((x) => x === 0))).toBe(true);
  });
});
