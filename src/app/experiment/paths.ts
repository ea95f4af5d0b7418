/** Which fields of a config are paths, and what they are relative to: the config's folder in a file, the working directory on the command line. */
import { existsSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { TEMPLATE_FILE } from "../../llm/data/settings.ts";

/** Dotted field → whether a value of it is a path. */
const PATH_FIELDS: Readonly<Record<string, (value: string, base: string) => boolean>> = {
  // `owner/name` may be a folder or an id on the Hub: a folder that exists wins.
  model: (value, base) => /^\.{1,2}(\/|$)/.test(value) || existsSync(resolve(base, value)),
  "adapter.init_from": () => true,
  "data.path": () => true,
  "data.source": () => true,
  "data.template": (value) => TEMPLATE_FILE.test(value),
  "federation.strategy": (value) => /\.[cm]?[jt]s$/.test(value),
  "benchmarks.path": () => true,
  "benchmarks.demonstrations": () => true,
  "benchmarks.template": (value) => TEMPLATE_FILE.test(value),
  output: () => true,
};

/** A copy of a raw config whose paths are absolute, read as relative to `base`; members of a list are what the list is. Anything else is left as it is. */
export function withAbsolutePaths(raw: unknown, base: string, prefix: readonly string[] = []): unknown {
  if (typeof raw === "string") {
    const isPath = PATH_FIELDS[prefix.join(".").replace(/^matrix\./, "")];
    return isPath?.(raw, base) === true && !isAbsolute(raw) ? resolve(base, raw) : raw;
  }
  if (Array.isArray(raw)) return raw.map((value) => withAbsolutePaths(value, base, prefix));
  if (typeof raw !== "object" || raw === null) return raw;
  return Object.fromEntries(Object.entries(raw).map(([key, value]) => [key, withAbsolutePaths(value, base, [...prefix, key])]));
}
