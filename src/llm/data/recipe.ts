/** What is done to rows between the file and their use: rows left out, texts replaced, fields composed of others, fields made by rule. */
import { canonicalJson } from "../../core/base/hash.ts";
import { datasetOf } from "./catalog/complete.ts";
import type { Dataset } from "./catalog/dataset.ts";
import { DERIVED, type DerivedName } from "./derived/derived.ts";
import { resolveFields, type ResolvedFields } from "./examples.ts";
import type { RawDataset, RawRecord } from "./records.ts";
import type { DataSettings } from "./settings.ts";

type Fields = Readonly<Record<string, unknown>>;

function textOf(value: unknown): string {
  return typeof value === "string" ? value : typeof value === "number" || typeof value === "boolean" ? String(value) : "";
}

/** One row as the catalog wants it. */
function prepare(fields: Fields, { keep, replace = [], compose = {} }: Dataset): Fields {
  const kept: Record<string, unknown> = keep === undefined ? { ...fields } : Object.fromEntries(keep.flatMap((name) => (fields[name] === undefined ? [] : [[name, fields[name]]])));
  for (const { field, from, to } of replace) {
    const value = kept[field];
    if (typeof value === "string") kept[field] = value.replaceAll(from, to);
  }
  for (const [name, pattern] of Object.entries(compose)) kept[name] = pattern.replace(/\{(\w+)\}/g, (_, field: string) => textOf(fields[field]));
  return kept;
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null && value !== "";
}

/** Rows with the fields that rules make, where they have none of their own. */
function derive(records: readonly RawRecord[], names: readonly DerivedName[], meant: ResolvedFields): readonly RawRecord[] {
  return records.map((record) => {
    const part = (name: string | undefined): string => (name === undefined ? "" : textOf(record.fields[name]));
    const instruction = meant.kind === "instruction";
    const texts = {
      instruction: instruction ? part(meant.instruction) : "",
      input: instruction ? part(meant.input) : "",
      output: instruction ? part(meant.output) : "",
      text: meant.kind === "text" ? part(meant.text) : "",
    };
    const made = names.flatMap((name) => {
      const value = isGiven(record.fields[name]) ? undefined : DERIVED[name].derive(texts);
      return value === undefined ? [] : [[name, value] as const];
    });
    return made.length === 0 ? record : { ...record, fields: { ...record.fields, ...Object.fromEntries(made) } };
  });
}

/**
 * Rows as their data set's entry in the catalog and `data.derive` want them. `settings` are complete (completeSettings).
 * Throws FedtuneError "data" where fields are to be derived and it cannot be told which ones hold the texts.
 */
export function applyRecipe(raw: RawDataset, settings: DataSettings): RawDataset {
  const dataset = datasetOf(settings);
  let { records } = raw;
  let steps: Readonly<Record<string, unknown>> = {};
  if (dataset !== undefined) {
    const { leaveOut, replace, compose, keep } = dataset;
    if (leaveOut !== undefined) records = records.filter((record) => record.fields[leaveOut.field] !== leaveOut.value);
    if (replace !== undefined || compose !== undefined || keep !== undefined) records = records.map((record) => ({ ...record, fields: prepare(record.fields, dataset) }));
    steps = { leaveOut, replace, compose };
  }
  const names = settings.derive ?? [];
  if (names.length > 0 && records.length > 0) records = derive(records, names, resolveFields(settings.fields, records));
  const recipe = canonicalJson(steps);
  return {
    ...raw,
    records,
    ...(recipe !== "{}" && { recipe: raw.recipe === undefined ? recipe : `${raw.recipe} ${recipe}` }),
    ...(names.length > 0 && { derived: names.map((name) => ({ name, minExamples: DERIVED[name].minExamples })) }),
  };
}
