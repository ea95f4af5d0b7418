/** Loads a module of the user's own that the config names by path: a source or a template. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { FedtuneError, messageOf } from "../../core/base/errors.ts";
import { sha256 } from "../../core/base/hash.ts";
import { describeValue } from "./records.ts";

/** The default export of a user's module, and the SHA-256 of its file (not of what it imports). */
export interface UserFunction {
  readonly call: (...parameters: readonly unknown[]) => unknown;
  readonly sha256: string;
}

/**
 * Imports the function that a module exports by default; `path` is relative to `baseFolder`.
 * Throws FedtuneError "config" where the module cannot be loaded or exports something else.
 */
export async function importFunction(path: string, baseFolder: string): Promise<UserFunction> {
  const file = resolve(baseFolder, path);
  let exported: unknown;
  let hash: string;
  try {
    hash = sha256(await readFile(file));
    // A module's namespace is an object; what it exports is checked below.
    exported = ((await import(pathToFileURL(file).href)) as { readonly default?: unknown }).default;
  } catch (cause) {
    throw new FedtuneError("config", { where: path, expected: "a TypeScript or JavaScript module", got: messageOf(cause), remedy: "Paths are relative to the config file", cause });
  }
  if (typeof exported !== "function") {
    throw new FedtuneError("config", { where: path, expected: "a function as default export", got: describeValue(exported), remedy: "Write `export default function …`" });
  }
  const call = exported;
  return { call: (...parameters) => Reflect.apply(call, undefined, parameters) as unknown, sha256: hash };
}
