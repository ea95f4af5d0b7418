/** What an experiment trains: the federation, and what it is compared with as federations of one client each. */
import type { ClientRows } from "../../federation/rounds/client.ts";
import type { Federation } from "../../federation/rounds/coordinator.ts";
import type { Scenario } from "../../federation/rounds/events.ts";
import type { EncodedDataset, Partition } from "../../llm/data/types.ts";
import type { ExperimentConfig } from "./schema.ts";

/** Federations that advance in lock step. */
export type Bundle = readonly Federation[];

/** The bundles of an experiment in the order in which they are trained. */
export function bundlesOf({ federation, compare }: Pick<ExperimentConfig, "federation" | "compare">, clients: number): readonly Bundle[] {
  const indices = Array.from({ length: clients }, (_, i) => i);
  const federated: Federation = { scenario: "federated", clients: indices, fraction: federation.fraction, minClients: federation.min_clients };
  // A baseline that fails in a round must not end a run whose federation is done.
  const alone = (scenario: Scenario, client: number): Federation => ({ scenario, clients: [client], fraction: 1, minClients: 0 });
  return [
    ...(compare.includes("federated") ? [[federated]] : []),
    ...(compare.includes("global") ? [[alone("global", clients)]] : []),
    ...(compare.includes("local") ? [indices.map((client) => alone(`local/${client}`, client))] : []),
  ];
}

/** Training rows by client; the pooled rows are those of one more client, whose index is the number of clients. */
export function trainingRows({ clients }: Partition, { offsets }: EncodedDataset): ReadonlyMap<number, ClientRows> {
  const own = clients.map(({ train }) => train);
  const pooled = Int32Array.from(own.flatMap((train) => [...train]));
  return new Map([...own, pooled].map((examples, client) => [client, { examples, tokens: countTokens(examples, offsets) }]));
}

function countTokens(examples: Int32Array, offsets: Int32Array): number {
  return examples.reduce((sum, example) => sum + (offsets[example + 1] ?? 0) - (offsets[example] ?? 0), 0);
}
