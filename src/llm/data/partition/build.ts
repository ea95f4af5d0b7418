/**
 * Who holds which examples. Each row is given to its client first and only then split inside the client, so that a client is
 * tested on its own distribution. Rows are partitioned before those that cannot be encoded are left out: the assignment
 * depends neither on the tokenizer nor on max_tokens.
 */
import { FedtuneError } from "../../../core/base/errors.ts";
import type { RawDataset, SourceFile } from "../records.ts";
import type { DataSettings, PartitionSettings } from "../settings.ts";
import type { Partition } from "../types.ts";
import { groupByField, type Assignment, type LeftOut } from "./assignment.ts";
import { assignDirichlet } from "./dirichlet.ts";
import { partitionFsllm, type FsllmClients } from "./fsllm.ts";
import { assignByField, assignByFile, assignOwn, chooseValues } from "./given.ts";
import { assignIid } from "./iid.ts";
import { limitTraining, splitByField, splitByFractions, type SplitRows } from "./split.ts";

/** The assignment as plain JSON: row indices count over all files in their order, from 0. */
export interface PartitionManifest {
  readonly version: 1;
  readonly seed: number;
  readonly partition: PartitionSettings;
  /** Fields that clients and splits were read from, where they were. */
  readonly clientField: string | null;
  readonly splitField: string | null;
  readonly maxExamplesPerClient: number | null;
  readonly files: readonly SourceFile[];
  readonly rows: number;
  readonly clients: readonly (SplitRows & { readonly name: string })[];
  readonly globalTest: readonly number[];
  /** Values of the field that make no client, as fewer than min_examples rows have them; the most frequent first. */
  readonly leftOut: readonly LeftOut[];
  /** Rows that a value needed to make a client; null where there was no such limit. */
  readonly leastExamples: number | null;
  /** Rows that nobody gets: rare field values, and training rows beyond max_examples_per_client. */
  readonly unused: readonly number[];
  /** Rows that were left out in encoding; they stand in the lists above all the same. */
  readonly dropped: readonly number[];
}

export interface PartitionInput {
  readonly source: RawDataset;
  readonly data: Pick<DataSettings, "client_field" | "split_field" | "max_examples_per_client" | "fields">;
  readonly partition: PartitionSettings;
  readonly seed: number;
  /** Row of each encoded example, ascending (EncodedExamples.kept); absent: all rows, and indices stay those of rows. */
  readonly kept?: Int32Array;
}

/** The field that a setting names; `category` stands for the one that data.fields.category maps it to. */
export function fieldOf(name: string, fields: DataSettings["fields"]): string {
  return name === "category" ? (fields.category ?? name) : name;
}

function assign(input: PartitionInput): Assignment {
  const { partition, seed, data } = input;
  const { records } = input.source;
  switch (partition.method) {
    case "iid":
      return assignIid(records, partition, seed);
    case "dirichlet":
      return assignDirichlet(input.source, partition, { seed, field: fieldOf(partition.field, data.fields) });
    case "field":
      return assignByField(input.source, partition, fieldOf(partition.field, data.fields));
    case "file":
      return assignByFile(records);
    case "own":
      return assignOwn(records, data.client_field ?? "client");
    default:
      return partition satisfies never;
  }
}

/** The field that says a row's split: the one that is set, and with the clients of the data's own also a `split` that all rows have. */
function resolveSplitField({ data, partition, source }: PartitionInput): string | undefined {
  if (data.split_field !== undefined || partition.method !== "own") return data.split_field;
  return source.records.every((record) => record.fields["split"] !== undefined) ? "split" : undefined;
}

/** What is shared out: clients with their split rows, and what nobody gets. */
interface Shared extends Omit<Assignment, "clients"> {
  readonly clients: FsllmClients;
}

/** Clients first, then each client's rows split: a client is tested on its own distribution. */
function shareOut(input: PartitionInput, splitField: string | undefined): Shared {
  const { partition, seed, source } = input;
  const assignment = assign(input);
  const clients = assignment.clients.map((client) => {
    const split =
      splitField === undefined
        ? splitByFractions(client, partition.split, seed)
        : splitByField(client, source.records, { field: splitField, validationFraction: partition.validation_fraction, seed });
    return { name: client.name, ...split };
  });
  return { ...assignment, clients };
}

/** As FederatedScope-LLM shares out, where `partition.compat` wants it; else undefined. */
function shareOutAsReference({ partition: settings, seed, source, data }: PartitionInput): Shared | undefined {
  if (settings.method === "file" || settings.method === "own" || settings.compat === undefined) return undefined;
  if (data.split_field !== undefined) throw new FedtuneError("config", { where: "data.split_field", expected: "none together with partition.compat, which splits by fractions", got: `\`${data.split_field}\``, remedy: "Remove one of them" });
  switch (settings.method) {
    case "iid":
      return { clients: partitionFsllm({ settings, groups: [{ name: "all", rows: Array.from(source.records.keys()) }], seed }), globalTest: [], unused: [] };
    case "dirichlet":
      return { clients: partitionFsllm({ settings, groups: groupByField(source, fieldOf(settings.field, data.fields), "partition.field"), seed }), globalTest: [], unused: [] };
    case "field": {
      const { groups, ...rest } = chooseValues(source, settings, fieldOf(settings.field, data.fields));
      return { clients: partitionFsllm({ settings, groups, seed }), globalTest: [], ...rest };
    }
    default:
      return settings satisfies never;
  }
}

function requireTraining(name: string, rows: SplitRows, encodedTraining: number): void {
  if (encodedTraining > 0) return;
  const total = rows.train.length + rows.validation.length + rows.test.length;
  throw new FedtuneError("data", {
    where: `client ${name}`,
    expected: "at least one training example with a token to learn",
    got: rows.train.length === 0 ? `${total} rows, none of them for training` : `${rows.train.length} training rows, whose answers all lie beyond data.max_tokens`,
    remedy: rows.train.length === 0 ? "Give the client training rows or leave it out" : "Raise data.max_tokens or leave the client out",
    details: { client: name, rows: total, training: rows.train.length },
  });
}

/**
 * Builds the partition and its manifest; the partition's indices are those of encoded examples (rows where `kept` is absent).
 * Throws FedtuneError "data": an unknown field, more clients than examples, a client without a training example, a bad split.
 */
export function buildPartition(input: PartitionInput): { readonly partition: Partition; readonly manifest: PartitionManifest } {
  const { source, data, partition, seed, kept } = input;
  const { records } = source;
  const splitField = resolveSplitField(input);
  const assignment = shareOutAsReference(input) ?? shareOut(input, splitField);
  const clients = assignment.clients.map((client) => {
    const limited = limitTraining(client.name, client.train, { limit: data.max_examples_per_client, seed });
    return { ...client, train: limited.train, beyondLimit: limited.unused };
  });

  // Row to encoded example; -1 for a row that was left out.
  const encodedOf = new Int32Array(records.length).fill(kept === undefined ? 0 : -1);
  if (kept === undefined) for (let row = 0; row < records.length; row++) encodedOf[row] = row;
  else for (const [encoded, row] of kept.entries()) encodedOf[row] = encoded;
  const toEncoded = (rows: readonly number[]): Int32Array => Int32Array.from(rows.map((row) => encodedOf[row] ?? -1).filter((encoded) => encoded >= 0));

  const built = clients.map((client) => {
    const train = toEncoded(client.train);
    requireTraining(client.name, client, train.length);
    return { name: client.name, train, validation: toEncoded(client.validation), test: toEncoded(client.test) };
  });
  return {
    partition: { clients: built, globalTest: toEncoded(assignment.globalTest) },
    manifest: {
      version: 1,
      seed,
      partition,
      clientField: partition.method === "own" ? (data.client_field ?? "client") : null,
      splitField: splitField ?? null,
      maxExamplesPerClient: data.max_examples_per_client ?? null,
      files: source.files,
      rows: records.length,
      clients: clients.map(({ name, train, validation, test }) => ({ name, train, validation, test })),
      globalTest: assignment.globalTest,
      leftOut: assignment.leftOut ?? [],
      leastExamples: assignment.leastExamples ?? null,
      unused: [...assignment.unused, ...clients.flatMap((client) => client.beyondLimit)].sort((a, b) => a - b),
      dropped: Array.from(encodedOf.keys()).filter((row) => (encodedOf[row] ?? -1) < 0),
    },
  };
}
