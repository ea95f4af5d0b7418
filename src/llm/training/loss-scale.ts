/**
 * The factor by which a loss is multiplied before it is differentiated in float16, whose smallest number is 6e-8 and largest 65,504:
 * gradients below vanish, above they overflow (Micikevicius et al. 2018, "Mixed Precision Training", section 3.2). It is a power of
 * two and is divided out in float32, so it changes nothing but what float16 can hold. Each client has its own.
 */
import { tensor, type ComputeDType, type Tensor } from "../../core/base/tensor.ts";

export interface LossScale {
  readonly scale: number;
  /** Steps since it was last changed. */
  readonly steps: number;
}

/** Of a loss that is summed over tokens: where others take 65,536 and divide by some hundreds of tokens. */
const START = 2 ** 10;
const LOWEST = 2 ** -10;
const HIGHEST = 2 ** 20;
/** A step that overflows is made again, so what is too high by far should be left in few steps. */
const BACKOFF = 4;
const GROWTH = 2;
const STEPS_UNTIL_GROWTH = 500;

/** The scale of a client's first step: that of `state`, as `scaleState` gave it, else the usual one; 1 where the dtype needs none. */
export function startScale(compute: ComputeDType, state?: Tensor<"float32">): LossScale {
  if (compute !== "float16") return { scale: 1, steps: 0 };
  const [scale = START, steps = 0] = state?.data ?? [];
  return { scale, steps };
}

/** After a step whose gradient was finite. */
export function afterTaken({ scale, steps }: LossScale): LossScale {
  return steps + 1 < STEPS_UNTIL_GROWTH ? { scale, steps: steps + 1 } : { scale: Math.min(HIGHEST, scale * GROWTH), steps: 0 };
}

/** After a gradient that was not finite under a finite loss: a lower scale to make the step again with, or undefined where none is left. */
export function afterOverflow({ scale }: LossScale): LossScale | undefined {
  return scale / BACKOFF < LOWEST ? undefined : { scale: scale / BACKOFF, steps: 0 };
}

/** What is kept with the optimiser's state where moments are carried on. */
export function scaleState({ scale, steps }: LossScale): Tensor<"float32"> {
  return tensor("float32", [2], Float32Array.of(scale, steps));
}
