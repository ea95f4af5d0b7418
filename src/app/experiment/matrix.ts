/** A matrix of experiments: every combination of some fields' values. Expands it; reading files and checking each cell is `load.ts`. */
import { FedtuneError } from "../../core/base/errors.ts";
import { canonicalJson, sha256 } from "../../core/base/hash.ts";
import { planHash } from "./plan.ts";
import { matrixSchema, type Experiment } from "./schema.ts";

/** One experiment of a matrix. */
export interface Cell {
  /** What sets it apart from its neighbours, for people: `lora, seed 1`; empty where it is the only one. */
  readonly label: string;
  /** Its value of each varied field, by dotted path. */
  readonly values: Readonly<Record<string, unknown>>;
  readonly experiment: Experiment;
}

export interface Matrix {
  readonly name: string;
  /** Dotted paths of the fields that vary; empty for a single experiment. */
  readonly axes: readonly string[];
  /** No two of them are equal. */
  readonly cells: readonly Cell[];
}

/** One combination of values. */
export interface Combination {
  readonly values: ReadonlyMap<string, unknown>;
  readonly label: string;
  /** Where an axis stands in the config. */
  readonly placeOf: (field: string) => readonly PropertyKey[];
}

/**
 * All combinations of a matrix, the last field's values varying fastest; those of a list of matrices one after the other.
 * @throws FedtuneError("config") for what is no matrix
 */
export function combinationsOf(matrix: unknown, where: string): readonly Combination[] {
  if (matrix === undefined) return [{ values: new Map(), label: "", placeOf: () => ["matrix"] }];
  const parsed = matrixSchema.safeParse(matrix);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const at = issue?.path.join(".") ?? "";
    throw new FedtuneError("config", { where: at === "" ? where : `${where}.${at}`, expected: "fields with a list of values each, such as `seed: [1, 2, 3]`, or a list of such groups", got: `\`${JSON.stringify(matrix).slice(0, 60)}\``, remedy: "Write each field's values in brackets" });
  }
  const groups = Array.isArray(parsed.data) ? parsed.data : [parsed.data];
  return groups.flatMap((group, index) => {
    const axes = Object.entries(group).map(([field, values]) => values.map((value, i) => ({ field, value, name: nameOf(field, values, i) })));
    const placeOf = (field: string): readonly PropertyKey[] => (Array.isArray(parsed.data) ? ["matrix", index, field] : ["matrix", field]);
    return product(axes).map((chosen) => ({
      values: new Map(chosen.map(({ field, value }) => [field, value])),
      label: chosen.map(({ name }) => name).join(", "),
      placeOf,
    }));
  });
}

function product<T>(lists: readonly (readonly T[])[]): readonly (readonly T[])[] {
  return lists.reduce<readonly (readonly T[])[]>((all, list) => all.flatMap((chosen) => list.map((value) => [...chosen, value])), [[]]);
}

/** What an axis's value is called: `seed 1`, `base+local`, or an object by its method or name and, where that is not enough, by what differs. */
function nameOf(field: string, values: readonly unknown[], index: number): string {
  const value = values[index];
  if (Array.isArray(value)) return value.join("+");
  if (!isObject(value)) return `${field.split(".").at(-1) ?? field} ${textOf(value)}`;
  const word = wordFor(value) ?? `${field} ${index + 1}`;
  const alike = values.filter((other): other is Readonly<Record<string, unknown>> => isObject(other) && other !== value && (wordFor(other) ?? "") === (wordFor(value) ?? ""));
  if (alike.length === 0) return word;
  const differing = Object.keys(value).filter((key) => alike.some((other) => canonicalJson(other[key] ?? null) !== canonicalJson(value[key] ?? null)));
  return [word, ...differing.map((key) => `${key} ${textOf(value[key])}`)].join(" ");
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function wordFor(value: Readonly<Record<string, unknown>>): string | undefined {
  const word = ["label", "method", "name"].map((key) => value[key]).find((found) => typeof found === "string");
  return typeof word === "string" ? word : undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The cells without those that are equal to an earlier one. */
export function distinctCells(cells: readonly Cell[]): readonly Cell[] {
  const hashes = cells.map((cell) => planHash(cell.experiment.config));
  return cells.filter((_, i) => hashes.indexOf(hashes[i] ?? "") === i);
}

/** SHA-256 over all cells: equal for the same experiments in the same order. */
export function matrixHash({ cells }: Pick<Matrix, "cells">): string {
  return sha256(canonicalJson(cells.map(({ experiment }) => planHash(experiment.config))));
}
