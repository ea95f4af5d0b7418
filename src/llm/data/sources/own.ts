/** A source of one's own: a module whose default export yields rows. */
import { FedtuneError, messageOf } from "../../../core/base/errors.ts";
import { canonicalJson, sha256 } from "../../../core/base/hash.ts";
import { describeValue, isRow, type RawDataset, type RawRecord } from "../records.ts";
import type { DataSettings } from "../settings.ts";
import { importFunction } from "../user-module.ts";

/** What the default export of a source module is: given the `data` settings, it yields rows (plain objects). */
export type SourceFunction = (settings: DataSettings) => AsyncIterable<Readonly<Record<string, unknown>>> | Iterable<Readonly<Record<string, unknown>>>;

/** All rows that a source module yields. Throws FedtuneError "config" for a bad module, "data" for what it yields or throws. */
export async function readOwnSource(settings: DataSettings, source: string, baseFolder: string): Promise<RawDataset> {
  const { call } = await importFunction(source, baseFolder);
  const records: RawRecord[] = [];
  try {
    // for await takes both kinds of iterable, and throws a TypeError for anything else.
    for await (const row of call(settings) as ReturnType<SourceFunction>) {
      const value: unknown = row;
      if (!isRow(value)) throw new FedtuneError("data", { where: `${source}, row ${records.length + 1}`, expected: "an object", got: describeValue(value) });
      records.push({ fields: value, origin: { file: source, at: records.length + 1, unit: "row" } });
    }
  } catch (cause) {
    if (cause instanceof FedtuneError) throw cause;
    throw new FedtuneError("data", { where: `${source}, row ${records.length + 1}`, expected: "a row from the generator", got: messageOf(cause), cause });
  }
  return { records, files: [{ path: source, sha256: sha256(canonicalJson(records.map((r) => r.fields))), rows: records.length }] };
}
