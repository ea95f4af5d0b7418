/** Splits the rows of one client into train, validation and test: by fractions, or as the rows say themselves. */
import { FedtuneError } from "../../../core/base/errors.ts";
import { permutation, randomKey } from "../../../core/base/random.ts";
import { describeValue, formatOrigin, type RawRecord } from "../records.ts";
import type { SplitSettings } from "../settings.ts";
import type { ClientRows } from "./assignment.ts";

/** Row indices of one client, each list ascending. */
export interface SplitRows {
  readonly train: readonly number[];
  readonly validation: readonly number[];
  readonly test: readonly number[];
}

/** The split that each word means. */
const WORDS: Readonly<Record<string, keyof SplitRows>> = {
  train: "train", training: "train", validation: "validation", valid: "validation", val: "validation", dev: "validation", test: "test",
};

/** Rows in an order that depends on seed, purpose and the client's name alone, so that other clients and their order do not matter. */
function shuffled(client: ClientRows, seed: number, purpose: string): readonly number[] {
  const order = permutation(randomKey(seed, `${purpose}:${client.name}`), [], client.rows.length);
  return Array.from(order, (i) => client.rows[i] ?? 0);
}

function ascending(rows: readonly number[]): readonly number[] {
  return rows.toSorted((a, b) => a - b);
}

/** Splits by fractions, each rounded to whole rows; at least one row trains. */
export function splitByFractions(client: ClientRows, fractions: SplitSettings, seed: number): SplitRows {
  const n = client.rows.length;
  const order = shuffled(client, seed, "split");
  const validation = Math.min(Math.round(fractions.validation * n), n - 1);
  const test = Math.min(Math.round(fractions.test * n), n - 1 - validation);
  return { validation: ascending(order.slice(0, validation)), test: ascending(order.slice(validation, validation + test)), train: ascending(order.slice(validation + test)) };
}

/**
 * Splits as a field says. A client without validation rows holds out a fraction of its training rows, at least one where it
 * has two. Throws FedtuneError "data" with the row's place for a value that is none of train, validation, test.
 */
export function splitByField(
  client: ClientRows,
  records: readonly RawRecord[],
  options: { readonly field: string; readonly validationFraction: number; readonly seed: number },
): SplitRows {
  const { field, validationFraction, seed } = options;
  const split = { train: [] as number[], validation: [] as number[], test: [] as number[] };
  for (const row of client.rows) {
    const record = records[row];
    const value = record?.fields[field];
    const word = typeof value === "string" ? value.toLowerCase() : "";
    const meant = Object.hasOwn(WORDS, word) ? WORDS[word] : undefined;
    if (meant === undefined) {
      throw new FedtuneError("data", {
        where: record === undefined ? field : formatOrigin(record.origin),
        expected: `train, validation or test in the field \`${field}\` (data.split_field)`,
        got: value === undefined ? "no such field" : describeValue(value),
        remedy: "Mend the row, or leave data.split_field out to split by fractions",
      });
    }
    split[meant].push(row);
  }
  if (split.validation.length > 0 || validationFraction === 0 || split.train.length < 2) return split;
  const order = shuffled({ name: client.name, rows: split.train }, seed, "hold out");
  const held = Math.min(Math.max(1, Math.round(validationFraction * order.length)), order.length - 1);
  return { validation: ascending(order.slice(0, held)), train: ascending(order.slice(held)), test: split.test };
}

/** At most `limit` training rows, drawn at random under the seed, and those left over. */
export function limitTraining(client: string, train: readonly number[], options: { readonly limit: number | undefined; readonly seed: number }): { readonly train: readonly number[]; readonly unused: readonly number[] } {
  const { limit, seed } = options;
  if (limit === undefined || train.length <= limit) return { train, unused: [] };
  const order = shuffled({ name: client, rows: train }, seed, "limit");
  return { train: ascending(order.slice(0, limit)), unused: order.slice(limit) };
}
