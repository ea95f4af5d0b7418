/** An experiment's data: rows, who holds them, and their tokens. Training on them is left to others. */
import { dirname, join } from "node:path";
import { FedtuneError, must } from "../../core/base/errors.ts";
import { sha256 } from "../../core/base/hash.ts";
import { bytesOf } from "../../core/base/tensor.ts";
import { cacheFolder } from "../../core/store/cache.ts";
import type { EncodeReport } from "../../llm/data/encode.ts";
import { encodeCached } from "../../llm/data/encoded-cache.ts";
import { completeSettings, datasetOf } from "../../llm/data/catalog/complete.ts";
import type { LocateOptions } from "../../llm/data/catalog/locate.ts";
import { loadExamples, type LoadedExamples } from "../../llm/data/load-examples.ts";
import { buildPartition, type PartitionManifest } from "../../llm/data/partition/build.ts";
import { countCategories, type CategoryCounts } from "../../llm/data/partition/counts.ts";
import { readRecords } from "../../llm/data/sources/read.ts";
import { loadTemplate } from "../../llm/data/templates/load.ts";
import type { PromptTemplate } from "../../llm/data/templates/template.ts";
import type { DataSettings } from "../../llm/data/settings.ts";
import type { EncodedDataset, Partition } from "../../llm/data/types.ts";
import type { Tokenizer } from "../../llm/text/tokenizer.ts";
import type { Experiment } from "./schema.ts";

/** Who holds which rows, and how many of each category. */
export interface PartitionRecord {
  readonly manifest: PartitionManifest;
  readonly categories: CategoryCounts;
}

/** A row that nobody trains on: its own fields, whose it is (-1: nobody's), and its split, which is always test. */
export type HeldOutRow = Readonly<Record<string, unknown>> & { readonly client: string | -1; readonly split: "test" };

export interface PreparedData {
  /** The settings, those of a named data set filled in. */
  readonly settings: DataSettings;
  /** What benchmarks on rows are asked: the global test, else every client's test rows. */
  readonly heldOut: readonly HeldOutRow[];
  readonly dataset: EncodedDataset;
  readonly partition: Partition;
  readonly record: PartitionRecord;
  readonly report: EncodeReport;
  readonly template: PromptTemplate;
  /** What the data set's licence asks of its users; absent where the catalog knows of nothing. */
  readonly terms?: string;
  /** What rows are: decides how a sample's prompt is put to the model. */
  readonly kind: "instruction" | "conversation" | "text";
  /** SHA-256 over all tokens, labels and who holds them: whatever else changed, equal hashes train alike. */
  readonly sha256: string;
}

export interface PrepareDataOptions {
  readonly tokenizer: Tokenizer;
  /** Told of bytes that are fetched. */
  readonly onDownload?: NonNullable<LocateOptions["onProgress"]>;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** The folder that relative paths of an experiment's data are shown from. */
function folderOf({ file }: Experiment): string {
  return file === undefined ? process.cwd() : dirname(file);
}

/**
 * Reads, partitions and encodes an experiment's rows.
 * @throws FedtuneError("data") naming file and line, or the client that is left without training rows
 */
export async function prepareData(experiment: Experiment, options: PrepareDataOptions): Promise<PreparedData> {
  const { partition: settings, seed } = experiment.config;
  const data = completeSettings(experiment.config.data);
  const baseFolder = folderOf(experiment);
  const template = await loadTemplate(data, { tokenizer: options.tokenizer, baseFolder });
  const source = await loadExamples(data, baseFolder, { seed, locate: { ...(options.signal && { signal: options.signal }), ...(options.onDownload && { onProgress: options.onDownload }) } });
  const { dataset, report, kept } = await encodeCached(source, { ...options, template, settings: data, folder: join(cacheFolder(), "encoded") });
  const { partition, manifest } = buildPartition({ source, data, partition: settings, seed, kept });
  requireEnoughClients(experiment, partition.clients.length);
  const record = { manifest, categories: countCategories(source, manifest, data.fields) };
  const named = datasetOf(data);
  const terms = named?.terms === undefined ? {} : { terms: `${data.name}, ${named.licence}: ${named.terms}` };
  return { settings: data, heldOut: heldOutRows(source, manifest), dataset, partition, record, report, template, ...terms, kind: source.fields.kind, sha256: hashOf(dataset, partition) };
}

/**
 * How an experiment's rows would be shared out, without a model: nothing is encoded.
 * @throws FedtuneError("data") as `prepareData`, but for what only shows in tokens
 */
export async function partitionExperiment(experiment: Experiment, options: Pick<LocateOptions, "onProgress" | "signal"> = {}): Promise<PartitionRecord> {
  const { partition, seed } = experiment.config;
  const data = completeSettings(experiment.config.data);
  const source = await readRecords(data, folderOf(experiment), { seed, locate: options });
  const { manifest } = buildPartition({ source, data, partition, seed });
  return { manifest, categories: countCategories(source, manifest, data.fields) };
}

function heldOutRows({ records }: LoadedExamples, { clients, globalTest, dropped }: PartitionManifest): readonly HeldOutRow[] {
  const left = new Set(dropped);
  const owned = globalTest.length > 0 ? globalTest.map((row) => ({ row, client: -1 as const })) : clients.flatMap(({ name, test }) => test.map((row) => ({ row, client: name })));
  return owned.filter(({ row }) => !left.has(row)).map(({ row, client }) => ({ ...must(records[row], "row").fields, client, split: "test" }));
}

function requireEnoughClients({ config: { federation } }: Experiment, clients: number): void {
  if (federation.min_clients <= clients) return;
  throw new FedtuneError("config", { where: "federation.min_clients", expected: `at most ${clients}, as many clients as there are`, got: String(federation.min_clients), remedy: "Lower it, or share the rows among more clients" });
}

function hashOf({ ids, labels, offsets }: EncodedDataset, { clients, globalTest }: Partition): string {
  const rows = [...clients.flatMap(({ train, validation, test }) => [train, validation, test]), globalTest];
  const parts = [ids, labels, offsets, ...rows].map((part) => sha256(bytesOf(part)));
  return sha256(parts.join(" "));
}
