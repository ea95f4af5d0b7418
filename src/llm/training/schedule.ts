/** The learning rate as a function of the step, counted across rounds. */
import { unreachable } from "../../core/base/errors.ts";
import type { ScheduleSettings } from "./settings.ts";

/**
 * Learning rate of step `step` (from 0) of `totalSteps`. It rises linearly and reaches `peak` at the last warm-up step;
 * then it stays, or falls to `minimum · peak` over the rest (linearly, or by half a cosine: Loshchilov and Hutter 2017, eq. 5).
 */
export function learningRate(peak: number, schedule: ScheduleSettings, step: number, totalSteps: number): number {
  const { name, warmup_steps: warmup, minimum } = schedule;
  if (step < warmup) return (peak * (step + 1)) / warmup;
  const progress = Math.min(1, (step - warmup) / Math.max(1, totalSteps - warmup));
  switch (name) {
    case "constant":
      return peak;
    case "linear":
      return peak * (minimum + (1 - minimum) * (1 - progress));
    case "cosine":
      return peak * (minimum + (1 - minimum) * 0.5 * (1 + Math.cos(Math.PI * progress)));
    default:
      return unreachable(name, "schedule");
  }
}
