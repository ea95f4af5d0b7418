/** Examples dealt out at random in equal parts. */
import { permutation, randomKey } from "../../../core/base/random.ts";
import type { RawRecord } from "../records.ts";
import type { PartitionSettings } from "../settings.ts";
import { requireEnough, type Assignment } from "./assignment.ts";

/** Gives each client as many rows as any other, give or take one. Throws FedtuneError "data" for more clients than rows. */
export function assignIid(records: readonly RawRecord[], settings: Extract<PartitionSettings, { method: "iid" }>, seed: number): Assignment {
  const n = records.length;
  requireEnough(n, settings.clients);
  const order = permutation(randomKey(seed, "partition iid"), [], n);
  const clients = Array.from({ length: settings.clients }, (_, c) => ({
    name: String(c),
    rows: [...order.subarray(Math.floor((c * n) / settings.clients), Math.floor(((c + 1) * n) / settings.clients))].sort((a, b) => a - b),
  }));
  return { clients, globalTest: [], unused: [] };
}
