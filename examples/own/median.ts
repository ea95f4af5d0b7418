/**
 * A strategy of one's own: the coordinate-wise median of the clients' adapters (Yin et al. 2018, "Byzantine-robust distributed
 * learning", definition 1): next[i] = median over clients k of w_k[i]. One client that sends nonsense cannot move it far.
 *
 *   federation: { strategy: own/median.ts }
 */
import type { Strategy } from "fedtune";

function median(values: number[]): number {
  values.sort((a, b) => a - b);
  const middle = values.length >> 1;
  return values.length % 2 === 1 ? (values[middle] ?? 0) : ((values[middle - 1] ?? 0) + (values[middle] ?? 0)) / 2;
}

const strategy: Strategy = {
  name: "median",
  trainable: (_round, _client, names) => names,
  payload: (trained) => trained,
  aggregate({ global, updates }) {
    const all = updates.map((update) => update.load());
    return new Map(
      [...global].map(([name, { dtype, shape, data }]) => {
        const next = data.map((_, i) => median(all.map((tensors) => tensors.get(name)?.data[i] ?? 0)));
        return [name, { dtype, shape, data: next }];
      }),
    );
  },
};
export default strategy;
