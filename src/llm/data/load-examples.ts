/** From the `data` settings to examples: reads the rows, settles the fields, and turns each row into an example. */
import { completeSettings } from "./catalog/complete.ts";
import { resolveFields, toExample, type Example, type ResolvedFields } from "./examples.ts";
import type { RawDataset } from "./records.ts";
import type { DataSettings } from "./settings.ts";
import { readRecords, type ReadOptions } from "./sources/read.ts";

/** A data set as rows and as examples; `examples[i]` comes from `records[i]`. */
export interface LoadedExamples extends RawDataset {
  readonly fields: ResolvedFields;
  readonly examples: readonly Example[];
}

/** Loads a data set; paths are relative to `baseFolder`. Throws FedtuneError "data" naming file and line, "config" for a bad source. */
export async function loadExamples(settings: DataSettings, baseFolder: string, options: ReadOptions = {}): Promise<LoadedExamples> {
  const raw = await readRecords(settings, baseFolder, options);
  const complete = completeSettings(settings);
  const fields = resolveFields(complete.fields, raw.records, complete.compat);
  return { ...raw, fields, examples: raw.records.map((record) => toExample(record, fields)) };
}
