/** `fedtune bench step --sweep …`: how the cost of a token changes with one size, and the exponent of that change. */
import { exponentOf, round } from "./figures.ts";
import { benchStep } from "./step.ts";
import type { StepBenchOptions } from "./step.ts";

/** What is swept, and its values. */
export const SWEEPS = {
  tokens: [128, 256, 512, 1024, 2048],
  clients: [1, 2, 4, 8, 16, 32, 64],
  rank: [4, 8, 16, 32, 64],
} as const;

export type SweepName = keyof typeof SWEEPS;

/** Shape letters of the sizes, in the records. */
const LETTERS = { tokens: "T", clients: "C", rank: "r" } as const;

/** Steps at each value, all else as in the options. `exponent` is p where the time of a token goes as sizeᵖ: 0 means that it does not change. */
export async function benchSweep(sweep: SweepName, options: StepBenchOptions): Promise<Readonly<Record<string, unknown>>> {
  const table: { readonly size: number; readonly us_per_token: number; readonly tokens_per_s: number; readonly peak_rss_mb: unknown }[] = [];
  let common: Readonly<Record<string, unknown>> = {};
  for (const size of SWEEPS[sweep]) {
    const result = await benchStep({ ...options, [sweep]: size, products: false });
    const rate = Number(result["tokens_per_s"]);
    table.push({ size, us_per_token: round(1e6 / rate, 2), tokens_per_s: rate, peak_rss_mb: result["peak_rss_mb"] });
    common = result;
  }
  const { median_step_ms: _median, min_step_ms: _min, tokens_per_s: _rate, examples_per_s: _examples, first_loss: _first, mean_loss: _mean, peak_rss_mb: _peak, padding: _padding, [sweep]: _size, ...fixed } = common;
  return { ...fixed, sweep, letter: LETTERS[sweep], table, exponent: round(exponentOf(table.map(({ size, us_per_token }) => ({ x: size, y: us_per_token }))), 3) };
}
