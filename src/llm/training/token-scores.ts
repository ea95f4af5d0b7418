/** Log-probabilities from logits: of one token, and of the likeliest. */
import type { ScoredToken } from "./types.ts";

/** The token and the `top` likeliest under logits `[V]`; of equals the lower id goes first, as in greedy decoding. In float64. */
export function scoreToken(logits: Float32Array, token: number, top: number): ScoredToken {
  let max = -Infinity;
  for (let i = 0; i < logits.length; i++) if ((logits[i] ?? 0) > max) max = logits[i] ?? 0;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp((logits[i] ?? 0) - max);
  const normaliser = max + Math.log(sum);
  const of = (id: number): number => (logits[id] ?? -Infinity) - normaliser;
  return { token, logProbability: of(token), top: likeliest(logits, top).map((id) => ({ token: id, logProbability: of(id) })) };
}

/** Ids of the `count` greatest logits, by one scan. */
function likeliest(logits: Float32Array, count: number): readonly number[] {
  const best: number[] = [];
  if (count === 0) return best;
  let least = -Infinity;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] ?? 0;
    if (best.length === count && logit <= least) continue;
    let at = best.length;
    while (at > 0 && (logits[best[at - 1] ?? 0] ?? 0) < logit) at--;
    best.splice(at, 0, id);
    if (best.length > count) best.pop();
    least = logits[best.at(-1) ?? 0] ?? 0;
  }
  return best;
}
