/** Federated averaging: the next adapter is the mean of the clients' adapters, weighted by their data (McMahan et al. 2017, algorithm 1: w ← Σ n_k/n · w_k). */
import { weightedMean } from "./average.ts";
import type { Strategy } from "./types.ts";

export const fedavg: Strategy = {
  name: "fedavg",
  passesNonFiniteOn: true,
  trainable: (_round, _client, names) => names,
  payload: (trained) => trained,
  aggregate: ({ updates }) => weightedMean(updates),
};
