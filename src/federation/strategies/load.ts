/** Finds a strategy by its name in the config: one of ours, or a module of the user's own. */
import { existsSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { didYouMean, FedtuneError, messageOf } from "../../core/base/errors.ts";
import { fedavg } from "./fedavg.ts";
import type { Strategy } from "./types.ts";

/** All strategies by the name that a config uses. */
const STRATEGIES = { fedavg } satisfies Record<string, Strategy>;

const METHODS = ["trainable", "payload", "aggregate"] as const;

function isStrategy(value: unknown): value is Strategy {
  return typeof value === "object" && value !== null && METHODS.every((method) => method in value && typeof Reflect.get(value, method) === "function");
}

/**
 * The strategy of that name, or the default export of the module at that absolute path.
 * @throws FedtuneError("config") for a name that is neither, or a module without a strategy
 */
export async function loadStrategy(nameOrPath: string): Promise<Strategy> {
  // Looked up by own keys: "constructor" is no strategy.
  const known = Object.entries(STRATEGIES).find(([name]) => name === nameOrPath);
  if (known !== undefined) return known[1];
  const names = Object.keys(STRATEGIES);
  if (!/\.[cm]?[jt]s$/.test(nameOrPath)) {
    throw new FedtuneError("config", { where: "federation.strategy", expected: `${names.join(", ")} or the path of a module`, got: `\`${nameOrPath}\``, remedy: didYouMean(nameOrPath, names) });
  }
  if (!existsSync(nameOrPath)) throw new FedtuneError("config", { where: "federation.strategy", expected: "a module that exists", got: nameOrPath, remedy: "Paths in a config are relative to the config file" });
  return fromModule(nameOrPath);
}

async function fromModule(path: string): Promise<Strategy> {
  let exported: unknown;
  try {
    const module: unknown = await import(pathToFileURL(path).href);
    exported = typeof module === "object" && module !== null && "default" in module ? module.default : undefined;
  } catch (error) {
    throw new FedtuneError("config", { where: path, expected: "a module that loads", got: messageOf(error), cause: error });
  }
  if (isStrategy(exported)) return exported;
  throw new FedtuneError("config", { where: path, expected: `a default export with ${METHODS.join(", ")}`, got: exported === undefined ? "no default export" : typeof exported, remedy: "See examples/ for a strategy of one's own" });
}
