/** Which clients take part in a round: a pure function of seed, round and fraction. */
import { must } from "../../core/base/errors.ts";
import { permutation, randomKey } from "../../core/base/random.ts";

export interface SamplingOptions {
  readonly seed: number;
  /** Round, from 1. */
  readonly round: number;
  /** Share of the clients, in (0, 1]. */
  readonly fraction: number;
  /** At least so many, where there are so many. */
  readonly atLeast: number;
}

/** max(1, fraction · n) clients without repetition, in ascending order (McMahan et al. 2017, algorithm 1: m ← max(C·K, 1)). */
export function sampleClients(clients: readonly number[], options: SamplingOptions): readonly number[] {
  const wanted = Math.max(1, options.atLeast, Math.round(options.fraction * clients.length));
  if (wanted >= clients.length) return clients.toSorted((a, b) => a - b);
  const order = permutation(randomKey(options.seed, "clients-of-round"), [options.round], clients.length);
  return Array.from(order.subarray(0, wanted), (i) => must(clients[i], `client ${i}`)).toSorted((a, b) => a - b);
}
