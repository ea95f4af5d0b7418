/** From a YAML file and `key=value` overrides to a checked experiment. What the fields mean is the schema's. */
import { readFileSync } from "node:fs";
import { dirname, parse as parsePath, relative, resolve } from "node:path";
import { isMap, isScalar, LineCounter, parse as parseYaml, parseDocument, type Document } from "yaml";
import { FedtuneError, messageOf } from "../../core/base/errors.ts";
import { fileErrorCode } from "../../core/base/file-errors.ts";
import { checkBenchmarks } from "./benchmarks.ts";
import { combinationsOf, distinctCells, type Cell, type Matrix } from "./matrix.ts";
import { withAbsolutePaths } from "./paths.ts";
import { configError, type Locate } from "./problems.ts";
import { experimentSchema, type Experiment } from "./schema.ts";

export interface LoadOptions {
  /** What paths in overrides are relative to; default: the working directory. */
  readonly workingFolder?: string;
}

/**
 * Reads a config file of one experiment, applies overrides of the form `federation.rounds=3` (values in YAML) and checks the whole.
 * @throws FedtuneError("config") naming file, line, field, value and what is allowed, in at most three lines; for a matrix of several, too
 */
export function loadExperiment(file: string, overrides: readonly string[] = [], options: LoadOptions = {}): Experiment {
  const { cells, axes } = loadMatrix(file, overrides, options);
  const [only] = cells;
  if (only !== undefined && cells.length === 1) return only.experiment;
  throw new FedtuneError("config", { where: `${file}: matrix`, expected: "one experiment", got: `${cells.length} of them, by ${axes.join(" and ")}`, remedy: `Choose one on the command line, by ${axes.map((field) => `${field}=…`).join(" ")}` });
}

/**
 * Reads a config file that may hold a matrix: all of its experiments, checked. Overrides hold for every one of them, also where they
 * set a field that the matrix varies; what is equal then is there once. A file without a matrix is a matrix of one.
 * @throws FedtuneError("config") as `loadExperiment`
 */
export function loadMatrix(file: string, overrides: readonly string[] = [], options: LoadOptions = {}): Matrix {
  const workingFolder = options.workingFolder ?? process.cwd();
  const path = resolve(workingFolder, file);
  const shown = relative(workingFolder, path).startsWith("..") ? path : relative(workingFolder, path);
  const { document, lines, fields } = readFields(path, shown);
  const common: Record<string, unknown> = { name: parsePath(path).name, ...asFields(withAbsolutePaths(fields, dirname(path)), shown) };
  const { matrix, ...base } = common;
  const combinations = combinationsOf(matrix, `${shown}: matrix`);
  let overridden = new Set<string>();
  const cells = combinations.map(({ values, label, placeOf }): Cell => {
    const raw: Record<string, unknown> = structuredClone(base);
    for (const [field, value] of values) setField(raw, field.split("."), value);
    overridden = new Set(overrides.map((override) => applyOverride(raw, override, workingFolder)));
    raw["output"] ??= resolve(workingFolder, "runs");
    const locate: Locate = (at) => {
      const field = at.join(".");
      const within = (key: string): boolean => field === key || field.startsWith(`${key}.`);
      if ([...overridden].some(within)) return `${field} (command line)`;
      const axis = [...values.keys()].find((key) => within(key) || key.startsWith(`${field}.`));
      const line = lineOf(document, lines, axis === undefined ? at : placeOf(axis));
      const place = axis === undefined ? field : `matrix.${axis}${field.length > axis.length ? field.slice(axis.length) : ""}`;
      return line === undefined ? `${shown}: ${place}` : `${shown}:${line}: ${place}`;
    };
    return { label, values: Object.fromEntries(values), experiment: { config: check(raw, locate), file: path, ...(label !== "" && { label }) } };
  });
  const axes = [...new Set(combinations.flatMap(({ values }) => [...values.keys()]))].filter((field) => !overridden.has(field));
  return { name: cells[0]?.experiment.config.name ?? "", axes, cells: distinctCells(cells) };
}

interface ReadFields {
  readonly document: Document;
  readonly lines: LineCounter;
  readonly fields: Readonly<Record<string, unknown>>;
}

function readFields(path: string, shown: string): ReadFields {
  const lines = new LineCounter();
  const document = parseDocument(readConfig(path, shown), { lineCounter: lines });
  const [fault] = document.errors;
  if (fault !== undefined) {
    const [sentence = fault.message] = fault.message.split(/ at line \d+/);
    throw new FedtuneError("config", { where: `${shown}:${fault.linePos?.[0].line ?? 1}`, expected: "YAML", got: sentence });
  }
  return { document, lines, fields: asFields(document.toJS(), shown) };
}

/**
 * Checks a config given as an object; its paths are relative to `folder`.
 * @throws FedtuneError("config") as `loadExperiment`
 */
export function defineExperiment(config: Readonly<Record<string, unknown>>, folder: string = process.cwd()): Experiment {
  const raw = { output: "runs", name: "experiment", ...config };
  return { config: check(withAbsolutePaths(raw, folder), (path) => path.join(".") || "experiment") };
}

function check(raw: unknown, locate: Locate): Experiment["config"] {
  const parsed = experimentSchema.safeParse(raw);
  if (!parsed.success) throw configError(parsed.error.issues, raw, locate);
  checkBenchmarks(parsed.data.benchmarks);
  return parsed.data;
}

function readConfig(path: string, shown: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new FedtuneError("config", { where: shown, expected: "an experiment's config file (YAML)", got: fileErrorCode(error) === "ENOENT" ? "no such file" : messageOf(error), remedy: "Check the path", cause: error });
  }
}

function asFields(value: unknown, shown: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  const got = value === null || value === undefined ? "nothing" : Array.isArray(value) ? "a list" : `\`${JSON.stringify(value)}\``;
  throw new FedtuneError("config", { where: shown, expected: "fields such as `model:` and `data:`", got });
}

/** Sets one field of `raw` and returns its dotted path. */
function applyOverride(raw: Record<string, unknown>, override: string, workingFolder: string): string {
  const at = override.indexOf("=");
  const key = override.slice(0, Math.max(0, at)).trim();
  const keys = key.split(".");
  if (at < 1 || keys.some((name) => name === "" || name === "__proto__")) {
    throw new FedtuneError("config", { where: `\`${override}\``, expected: "field=value, such as federation.rounds=3", got: at < 1 ? "no field" : "an empty name" });
  }
  let value: unknown;
  try {
    value = parseYaml(override.slice(at + 1));
  } catch (error) {
    throw new FedtuneError("config", { where: `${key} (command line)`, expected: "a value in YAML", got: messageOf(error).split("\n")[0] ?? "", cause: error });
  }
  setField(raw, keys, withAbsolutePaths(value, workingFolder, keys));
  return key;
}

/** Sets the field at a path; objects on the way are copied or made. */
function setField(raw: Record<string, unknown>, keys: readonly string[], value: unknown): void {
  let target = raw;
  for (const name of keys.slice(0, -1)) {
    const child = target[name];
    const next: Record<string, unknown> = typeof child === "object" && child !== null && !Array.isArray(child) ? { ...child } : {};
    target[name] = next;
    target = next;
  }
  target[keys.at(-1) ?? ""] = value;
}

/** The line of the field at a path, or of the nearest one around it. */
function lineOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): number | undefined {
  for (let depth = path.length; depth > 0; depth--) {
    const parent: unknown = document.getIn(path.slice(0, depth - 1), true) ?? undefined;
    const name = path[depth - 1];
    const pair = isMap(parent) ? parent.items.find((item) => isScalar(item.key) && item.key.value === name) : undefined;
    if (pair !== undefined && isScalar(pair.key) && pair.key.range) return lines.linePos(pair.key.range[0]).line;
  }
  return undefined;
}
