/**
 * AdaLoRA's budget (Zhang et al. 2023, section 3.2): which singular values of which module stay. After each step every
 * value is scored by its sensitivity |w · ∇w| (eq. 8), smoothed (eq. 9) and multiplied by how much it varies (eq. 10);
 * a triplet's score is that of its singular value plus the means of its two vectors'. The budget falls by a cubic
 * schedule, and the lowest triplets of all modules together lose their singular value.
 *
 * In a federation a step is counted along the client's whole schedule, and each client allocates by its own gradients:
 * what is averaged keeps a singular value that any client kept. Scores live with the optimiser's state, so that they
 * start anew in each round unless moments are carried on. Once the budget is final, no score is needed: a singular
 * value that a step finds at 0 stays at 0.
 */
import type { StepControl } from "./adapter.ts";

/** The triplets of a module: singular values `e` `[rank, 1]`, right vectors `a` `[rank, in]`, left vectors `b` `[out, rank]`, by name. */
export interface TripletModule {
  readonly a: string;
  readonly e: string;
  readonly b: string;
  readonly rank: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

/** Settings of the allocation, in PEFT's names; times are in steps. */
export interface AllocationRule {
  /** Singular values of all modules together once the budget is final. */
  readonly targetBudget: number;
  /** Steps before the budget begins to fall, and after it has fallen. */
  readonly tinit: number;
  readonly tfinal: number;
  /** Steps between two allocations. */
  readonly deltaT: number;
  /** Weights of the past in the smoothed sensitivity and in the uncertainty. */
  readonly beta1: number;
  readonly beta2: number;
  /** Length of the schedule; absent: that of the client's own. */
  readonly total_step?: number | undefined;
}

type AfterStep = Parameters<StepControl["afterStep"]>[0];

const sensitivity = (name: string): string => `${name} sensitivity`;
const uncertainty = (name: string): string => `${name} uncertainty`;

/** The triplets that remain after `step` of the falling part of the schedule (eq. 12, as PEFT counts it). */
export function budgetAt(step: number, initial: number, { targetBudget, tinit, tfinal, total }: Pick<AllocationRule, "targetBudget" | "tinit" | "tfinal"> & { readonly total: number }): number {
  const left = 1 - (step - tinit) / (total - tfinal - tinit);
  return Math.trunc((initial - targetBudget) * left ** 3 + targetBudget);
}

/** Scores of a module's triplets (eq. 11 and the one before it). */
function tripletScores({ a, e, b, rank, inFeatures, outFeatures }: TripletModule, state: AfterStep["state"]): Float64Array {
  const elements = (name: string): ((i: number) => number) => {
    const [smoothed, varied] = [state(sensitivity(name)), state(uncertainty(name))];
    return (i) => (smoothed[i] ?? 0) * (varied[i] ?? 0);
  };
  const [ofA, ofE, ofB] = [elements(a), elements(e), elements(b)];
  return new Float64Array(rank).map((_, k) => {
    let [sumA, sumB] = [0, 0];
    for (let i = 0; i < inFeatures; i++) sumA += ofA(k * inFeatures + i);
    for (let o = 0; o < outFeatures; o++) sumB += ofB(o * rank + k);
    return ofE(k) + sumA / inFeatures + sumB / outFeatures;
  });
}

/** Zeroes the singular values of the lowest triplets so that at most `budget` remain; of equal scores all go, as in PEFT. */
function maskToBudget(modules: readonly TripletModule[], budget: number, { parameter, state }: AfterStep): void {
  const scores = modules.map((m) => tripletScores(m, state));
  const sorted = Float64Array.from(scores.flatMap((s) => [...s])).sort();
  const threshold = sorted[sorted.length - budget - 1];
  if (threshold === undefined) return;
  modules.forEach(({ e }, i) => {
    const values = parameter(e);
    scores[i]?.forEach((score, k) => { if (score <= threshold) values[k] = 0; });
  });
}

/** What AdaLoRA does after each step. A client whose schedule has no step between tinit and tfinal keeps every rank. */
export function allocateRanks(modules: readonly TripletModule[], rule: AllocationRule): StepControl {
  const tensors = modules.flatMap(({ a, e, b, rank, inFeatures, outFeatures }) => [
    { name: a, shape: [rank, inFeatures] }, { name: e, shape: [rank, 1] }, { name: b, shape: [outFeatures, rank] },
  ]);
  const initial = modules.reduce((sum, { rank }) => sum + rank, 0);
  const { beta1, beta2, tinit, tfinal, deltaT, targetBudget } = rule;

  function updateScores({ parameter, gradient, state }: AfterStep): void {
    for (const { name } of tensors) {
      const [values, slopes, smoothed, varied] = [parameter(name), gradient(name), state(sensitivity(name)), state(uncertainty(name))];
      values.forEach((w, i) => {
        const now = Math.abs(w * (slopes[i] ?? 0)); // eq. 8
        const mean = beta1 * (smoothed[i] ?? 0) + (1 - beta1) * now; // eq. 9
        smoothed[i] = mean;
        varied[i] = beta2 * (varied[i] ?? 0) + (1 - beta2) * Math.abs(now - mean); // eq. 10
      });
    }
  }
  const forgetScores = ({ state }: AfterStep): void => {
    for (const { name } of tensors) for (const kept of [sensitivity(name), uncertainty(name)]) state(kept).fill(0);
  };
  const hasScores = ({ state }: AfterStep): boolean => tensors.some(({ name }) => state(uncertainty(name)).some((x) => x !== 0));
  const keepZeros = ({ parameter, before }: AfterStep): void => {
    for (const { e } of modules) {
      const values = parameter(e);
      before(e).forEach((x, k) => { if (x === 0) values[k] = 0; });
    }
  };

  return {
    state: tensors.flatMap(({ name, shape }) => [{ name: sensitivity(name), shape }, { name: uncertainty(name), shape }]),
    afterStep(input) {
      const { step } = input;
      const total = rule.total_step ?? input.totalSteps;
      const end = total - tfinal;
      if (end <= tinit) return;
      if (step < end) {
        updateScores(input);
        if (step > tinit && step % deltaT === 0) maskToBudget(modules, budgetAt(step, initial, { targetBudget, tinit, tfinal, total }), input);
        return;
      }
      // A round may begin right here with no scores: then this step alone decides.
      if (step === end && !hasScores(input)) updateScores(input);
      // Scores that are still there after the end: the step that would have been the last to allocate was skipped.
      if (step > end && !hasScores(input)) return keepZeros(input);
      maskToBudget(modules, targetBudget, input);
      forgetScores(input);
    },
  };
}
