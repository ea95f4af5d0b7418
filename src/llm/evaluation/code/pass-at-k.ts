/** pass@k: the chance that one of k samples passes, without bias from those that were drawn. */
import type { Figure, Judged } from "../benchmark.ts";
import { mean, proportion, type FigureOptions } from "../statistics.ts";

/**
 * 1 − C(n − c, k) / C(n, k) (Chen et al. 2021, equation 1), as a product that does not overflow.
 * @param passed samples that passed, `c` of `n`
 */
export function passAtK(samples: number, passed: number, k: number): number {
  if (k > samples) throw new Error(`pass@${k} of ${samples} samples`);
  if (samples - passed < k) return 1;
  let allFail = 1;
  for (let i = samples - passed + 1; i <= samples; i++) allFail *= 1 - k / i;
  return 1 - allFail;
}

/** The name of the figure and of the score of a question. */
export function passName(k: number): string {
  return `pass@${k}`;
}

/** The figure of one k: a share of questions where each has one sample, else the mean of their estimates. */
export function passFigure(judged: readonly Judged[], { k, samples, group }: { readonly k: number; readonly samples: number } & Pick<FigureOptions, "group">): Figure {
  const options = { name: passName(k), ...(group === undefined ? {} : { group }) };
  return samples === 1 ? proportion(judged, passName(k), options) : mean(judged, passName(k), options);
}
