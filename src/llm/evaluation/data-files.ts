/** A benchmark's files: those of the catalog, or one that the settings name. */
import { must } from "../../core/base/errors.ts";
import { locateDataset } from "../data/catalog/locate.ts";
import type { RawRecord } from "../data/records.ts";
import { dataSchema } from "../data/settings.ts";
import { readRecords } from "../data/sources/read.ts";
import type { BenchmarkContext } from "./benchmark.ts";

/** A file of a built-in data set: its name, and the part of it. */
export type CatalogFile = readonly [dataset: string, part: string];

/**
 * The path of a benchmark's file for `readRows`: the one given as it stands, else that of the catalog, in the folder of FEDTUNE_DATA,
 * in the cache or fetched, and checked by its hash.
 * @throws FedtuneError("data") for a file whose hash differs, or that is not here and cannot be fetched
 */
export async function findDataFile(path: string | undefined, [dataset, part]: CatalogFile, { signal }: Pick<BenchmarkContext, "signal">): Promise<string> {
  if (path !== undefined) return path;
  const [file] = await locateDataset(dataset, part, signal === undefined ? {} : { signal });
  return must(file, `the file of ${dataset}`).path;
}

/** All rows of a file, whatever its format; the path is relative to `baseFolder`. Throws FedtuneError("data") naming file and line. */
export async function readRows(path: string, { baseFolder }: Pick<BenchmarkContext, "baseFolder">): Promise<readonly RawRecord[]> {
  return (await readRecords(dataSchema.parse({ path }), baseFolder)).records;
}
