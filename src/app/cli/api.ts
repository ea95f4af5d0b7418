/**
 * The public API, loaded when a command needs it: `--help` and wrong use stay quick, and a missing native part cannot
 * break them. Errors come from the core room, which is light.
 */
import type * as Api from "../../index.ts";

export type { Matrix, MatrixEvent, RunEvent, RunRecord, Scenario } from "../../index.ts";

/** Loads the public API. */
export function loadApi(): Promise<typeof Api> {
  return import("../../index.ts");
}
