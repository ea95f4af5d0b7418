/** A strategy of one's own, as a user writes it: the next adapter is the first client's. */
import type { Strategy } from "./types.ts";

const strategy: Strategy = {
  name: "first-client",
  trainable: (_round, _client, names) => names,
  payload: (trained) => trained,
  aggregate: ({ global, updates: [first] }) => first?.load() ?? global,
};
export default strategy;
