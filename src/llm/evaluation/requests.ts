/** What the command line and a config ask for, as requests: names of benchmarks, and settings as `key=value`. */
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { FedtuneError, messageOf } from "../../core/base/errors.ts";
import { BENCHMARKS } from "./all.ts";
import { findBenchmark, type BenchmarkRequest } from "./evaluate.ts";
import { fieldNames } from "./settings.ts";

/** A setting that a benchmark has. */
export interface SettingDescription {
  readonly name: string;
  readonly description: string;
  /** As JSON; absent: it has none and may or must be given. */
  readonly default?: unknown;
}

export interface BenchmarkDescription {
  readonly name: string;
  readonly summary: string;
  readonly settings: readonly SettingDescription[];
}

const propertiesSchema = z.object({ properties: z.record(z.string(), z.looseObject({ description: z.string().optional(), default: z.unknown().optional() })) });

/** All benchmarks with their settings. */
export function describeBenchmarks(): readonly BenchmarkDescription[] {
  return Object.keys(BENCHMARKS).map((name) => {
    const { summary, schema } = findBenchmark(name);
    const { properties } = propertiesSchema.parse(z.toJSONSchema(schema, { io: "input" }));
    const settings = fieldNames(schema).map((field) => ({ name: field, description: properties[field]?.description ?? "", ...(properties[field]?.default === undefined ? {} : { default: properties[field].default }) }));
    return { name, summary, settings };
  });
}

/** Sets a field by its dotted path. */
function setField(settings: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [first = "", ...rest] = path;
  if (rest.length === 0) {
    settings[first] = value;
    return;
  }
  const child = settings[first];
  const inner: Record<string, unknown> = typeof child === "object" && child !== null && !Array.isArray(child) ? { ...child } : {};
  settings[first] = inner;
  setField(inner, rest, value);
}

/**
 * Requests from words: `mmlu gsm8k shots=3 gsm8k.max_new_tokens=128`. A setting without a benchmark's name in front is
 * every one's. Values are YAML.
 * @throws FedtuneError("config") for an unknown benchmark with the nearest name, for none at all, or a value that is no YAML
 */
export function parseRequests(words: readonly string[]): readonly BenchmarkRequest[] {
  const names = [...new Set(words.filter((word) => !word.includes("=")))];
  for (const name of names) findBenchmark(name);
  if (names.length === 0) throw new FedtuneError("config", { where: "fedtune evaluate", expected: `at least one benchmark of ${Object.keys(BENCHMARKS).join(", ")}`, got: "none", remedy: "See `fedtune evaluate --list`" });
  const settings = new Map(names.map((name): [string, Record<string, unknown>] => [name, {}]));
  for (const word of words.filter((w) => w.includes("="))) {
    const at = word.indexOf("=");
    const path = word.slice(0, at).trim().split(".");
    if (path.some((part) => part === "" || part === "__proto__")) throw new FedtuneError("config", { where: `\`${word}\``, expected: "setting=value, such as shots=3 or mmlu.shots=3", got: "an empty name" });
    let value: unknown;
    try {
      value = parseYaml(word.slice(at + 1));
    } catch (cause) {
      throw new FedtuneError("config", { where: path.join("."), expected: "a value in YAML", got: messageOf(cause).split("\n")[0] ?? "", cause });
    }
    const [first = "", ...rest] = path;
    const own = rest.length > 0 ? settings.get(first) : undefined;
    if (own !== undefined) setField(own, rest, value);
    else for (const one of settings.values()) setField(one, path, value);
  }
  return names.map((name) => ({ name, settings: settings.get(name) ?? {} }));
}
