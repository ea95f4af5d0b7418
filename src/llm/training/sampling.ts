/** The next token from logits: greedy, or drawn with temperature, top-k and top-p. */
import { randomKey, uniforms } from "../../core/base/random.ts";

export interface SamplingOptions {
  /** 0: greedy. */
  readonly temperature: number;
  /** Keep the k likeliest tokens; 0: all. */
  readonly topK: number;
  /** Keep the fewest likeliest tokens whose probability sums to p (Holtzman et al. 2020); 1: all. */
  readonly topP: number;
  readonly seed: number;
}

function argmax(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if ((logits[i] ?? 0) > (logits[best] ?? 0)) best = i;
  return best;
}

/** The id of the next token of text `row` at place `step`; a pure function of logits `[V]`, options and place. */
export function sampleToken(logits: Float32Array, options: SamplingOptions, row: number, step: number): number {
  const { temperature, topK, topP, seed } = options;
  if (temperature === 0) return argmax(logits);
  let order = Array.from(logits.keys()).sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b);
  if (topK > 0) order = order.slice(0, topK);
  const max = logits[order[0] ?? 0] ?? 0;
  const weights = order.map((id) => Math.exp(((logits[id] ?? 0) - max) / temperature));
  const total = weights.reduce((a, b) => a + b, 0);
  let kept = 0;
  let mass = 0;
  while (kept < weights.length && (kept === 0 || mass < topP * total)) mass += weights[kept++] ?? 0;
  const [u = 0] = uniforms(randomKey(seed, "sampling"), [row, step], 1);
  let rest = u * mass;
  for (let i = 0; i < kept; i++) {
    rest -= weights[i] ?? 0;
    if (rest < 0) return order[i] ?? 0;
  }
  return order[kept - 1] ?? 0;
}
