/** In which fields the configs of several runs differ. */
import type { Plan } from "../../../index.ts";

/** What makes no row of its own: the seed, what is compared and asked, where a run is written, and what the machine resolves. */
const APART = ["name", "seed", "compare", "benchmarks", "samples", "output", "resolved", "runtime.workers", "runtime.data_parallel"];

/** For each plan the fields, as paths with dots, whose values are not the same in all of them, with this plan's values as text. */
export function differingFields(plans: readonly Plan[]): readonly Readonly<Record<string, string>>[] {
  const flat = plans.map((plan) => new Map(leavesOf(plan, "")));
  const fields = [...new Set(flat.flatMap((leaves) => [...leaves.keys()]))].filter((field) => new Set(flat.map((leaves) => leaves.get(field))).size > 1);
  const shortened = new Map(fields.map((field) => [field, shortenPaths(flat.map((leaves) => leaves.get(field) ?? "not set"))]));
  return plans.map((_, i) => Object.fromEntries(fields.map((field) => [field, shortened.get(field)?.[i] ?? ""])));
}

function* leavesOf(value: object, prefix: string): Iterable<[string, string]> {
  for (const [key, inner] of Object.entries(value) as [string, unknown][]) {
    const path = prefix === "" ? key : `${prefix}.${key}`;
    if (APART.includes(path) || inner === undefined) continue;
    if (typeof inner === "object" && inner !== null && !Array.isArray(inner)) yield* leavesOf(inner, path);
    else yield [path, typeof inner === "string" ? inner : JSON.stringify(inner)];
  }
}

/** Paths by their last part, where that still tells them apart. */
function shortenPaths(values: readonly string[]): readonly string[] {
  const short = values.map((value) => (/^([A-Za-z]:)?[\\/]/.test(value) ? (value.split(/[\\/]/).at(-1) ?? value) : value));
  return new Set(short).size === new Set(values).size ? short : values;
}
