/** For each value of a field, shares of its rows drawn from a Dirichlet distribution (Hsu et al. 2019, arXiv 1909.06335). */
import { FedtuneError } from "../../../core/base/errors.ts";
import { permutation, randomKey } from "../../../core/base/random.ts";
import type { RawDataset } from "../records.ts";
import type { PartitionSettings } from "../settings.ts";
import { groupByField, requireEnough, type Assignment } from "./assignment.ts";
import { drawDirichlet } from "./gamma.ts";

const MAX_ATTEMPTS = 1000;

/**
 * Deals each value's rows to the clients by shares that are drawn anew until every client has `min_size` rows.
 * Throws FedtuneError "data" for an unknown field, more clients than rows, or a size that no draw reaches.
 */
export function assignDirichlet(source: Pick<RawDataset, "records" | "derived">, settings: Extract<PartitionSettings, { method: "dirichlet" }>, context: { readonly seed: number; readonly field: string }): Assignment {
  const { clients, alpha, min_size } = settings;
  const { seed } = context;
  const groups = groupByField(source, context.field, "partition.field");
  requireEnough(source.records.length, clients, min_size);
  let best = 0;
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const cuts = groups.map((group, g) => cutPoints(drawDirichlet(alpha, clients, { seed, place: [attempt, g] }), group.rows.length));
    const sizes = Array.from({ length: clients }, (_, c) => cuts.reduce((sum, cut) => sum + (cut[c + 1] ?? 0) - (cut[c] ?? 0), 0));
    const smallest = Math.min(...sizes);
    best = Math.max(best, smallest);
    if (smallest < min_size) continue;
    const orders = groups.map((group, g) => permutation(randomKey(seed, "partition dirichlet"), [g], group.rows.length));
    const rowsOf = (client: number): number[] =>
      groups.flatMap((group, g) => Array.from(orders[g]?.subarray(cuts[g]?.[client], cuts[g]?.[client + 1]) ?? [], (i) => group.rows[i] ?? 0)).sort((a, b) => a - b);
    return { clients: sizes.map((_, client) => ({ name: String(client), rows: rowsOf(client) })), globalTest: [], unused: [] };
  }
  throw new FedtuneError("data", {
    where: "partition",
    expected: `at least ${min_size} examples for each of ${clients} clients at alpha ${alpha}`,
    got: `at best ${best} in ${MAX_ATTEMPTS} draws`,
    remedy: "Raise partition.alpha, or ask for fewer clients or a smaller min_size",
  });
}

/** Where n rows are cut for the shares: `[clients + 1]` positions from 0 to n. */
function cutPoints(shares: Float64Array, n: number): readonly number[] {
  let sum = 0;
  const cuts = Array.from(shares, (share) => Math.round((sum += share) * n));
  return [0, ...cuts.slice(0, -1), n];
}
