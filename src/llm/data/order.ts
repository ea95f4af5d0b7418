/** Which examples a client's step takes: a pure function, so that nothing needs saving for a resume. */
import { permutation, randomKey } from "../../core/base/random.ts";

export interface StepPlace {
  /** The experiment's seed. */
  readonly seed: number;
  /** Index of the client; keys its order. */
  readonly client: number;
  /** The client's training examples. */
  readonly examples: Int32Array;
  /** Steps that this client has taken before, over all rounds; from 0. */
  readonly step: number;
  readonly batchSize: number;
}

/**
 * The examples of one step: exactly `batchSize` elements of `examples`.
 * Epoch after epoch is laid end to end, each in its own random order, and cut into steps: a step may straddle two epochs, and
 * with fewer examples than `batchSize` some are taken several times. Each example is seen equally often, give or take one.
 */
export function examplesOfStep(place: StepPlace): Int32Array {
  const { seed, client, examples, step, batchSize } = place;
  const n = examples.length;
  if (n === 0) throw new Error(`examplesOfStep: client ${client} has no training examples`);
  const key = randomKey(seed, "example order");
  const out = new Int32Array(batchSize);
  let epoch = -1;
  let order: Int32Array = new Int32Array(0);
  for (let i = 0; i < batchSize; i++) {
    const drawn = step * batchSize + i;
    if (Math.floor(drawn / n) !== epoch) {
      epoch = Math.floor(drawn / n);
      order = permutation(key, [client, epoch], n);
    }
    out[i] = examples[order[drawn % n] ?? 0] ?? 0;
  }
  return out;
}
