/** From a YAML file and `key=value` overrides to a checked experiment. What the fields mean is the schema's. */
import { readFileSync } from "node:fs";
import { dirname, parse as parsePath, relative, resolve } from "node:path";
import { isMap, isScalar, LineCounter, parse as parseYaml, parseDocument, type Document } from "yaml";
import { FedtuneError, messageOf } from "../../core/base/errors.ts";
import { fileErrorCode } from "../../core/base/file-errors.ts";
import { checkBenchmarks } from "./benchmarks.ts";
import { withAbsolutePaths } from "./paths.ts";
import { configError, type Locate } from "./problems.ts";
import { experimentSchema, type Experiment } from "./schema.ts";

export interface LoadOptions {
  /** What paths in overrides are relative to; default: the working directory. */
  readonly workingFolder?: string;
}

/**
 * Reads a config file, applies overrides of the form `federation.rounds=3` (values in YAML) and checks the whole.
 * @throws FedtuneError("config") naming file, line, field, value and what is allowed, in at most three lines
 */
export function loadExperiment(file: string, overrides: readonly string[] = [], options: LoadOptions = {}): Experiment {
  const workingFolder = options.workingFolder ?? process.cwd();
  const path = resolve(workingFolder, file);
  const shown = relative(workingFolder, path).startsWith("..") ? path : relative(workingFolder, path);
  const lines = new LineCounter();
  const document = parseDocument(readConfig(path, shown), { lineCounter: lines });
  const [fault] = document.errors;
  if (fault !== undefined) {
    const [sentence = fault.message] = fault.message.split(/ at line \d+/);
    throw new FedtuneError("config", { where: `${shown}:${fault.linePos?.[0].line ?? 1}`, expected: "YAML", got: sentence });
  }
  const raw = asFields(document.toJS(), shown);
  const fromFile: Record<string, unknown> = { name: parsePath(path).name, ...asFields(withAbsolutePaths(raw, dirname(path)), shown) };
  const overridden = new Set<string>();
  for (const override of overrides) overridden.add(applyOverride(fromFile, override, workingFolder));
  if (fromFile["output"] === undefined) fromFile["output"] = resolve(workingFolder, "runs");
  const locate: Locate = (at) => {
    const field = at.join(".");
    if ([...overridden].some((key) => field === key || field.startsWith(`${key}.`))) return `${field} (command line)`;
    const line = lineOf(document, lines, at);
    return line === undefined ? `${shown}: ${field}` : `${shown}:${line}: ${field}`;
  };
  return { config: check(fromFile, locate), file: path };
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
  let target = raw;
  for (const name of keys.slice(0, -1)) {
    const child = target[name];
    const next: Record<string, unknown> = typeof child === "object" && child !== null && !Array.isArray(child) ? { ...child } : {};
    target[name] = next;
    target = next;
  }
  const last = keys.at(-1) ?? key;
  target[last] = withAbsolutePaths(value, workingFolder, keys);
  return key;
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
