/** Every event as one JSON line, as it is stored in the run. */
import type { Output } from "../context.ts";
import type { Reporter } from "./reporter.ts";

export function createJsonReporter(stdout: Output): Reporter {
  return {
    catchUp: () => undefined,
    add: (event) => void stdout.write(`${JSON.stringify(event)}\n`),
    stopping: () => undefined,
    [Symbol.dispose]: () => undefined,
  };
}
