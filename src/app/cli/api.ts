/**
 * The public API as the command line uses it, loaded when a command needs it: `--help` and wrong use stay quick, and a
 * missing native part cannot break them.
 */
import type { JournalEvent, RunEvent, Scenario } from "../../federation/rounds/events.ts";
import type { CategoryCounts } from "../report/index.ts";

export type { JournalEvent, RunEvent, Scenario };

/** One run, read from its folder. */
export interface RunRecord {
  readonly name: string;
  readonly events: readonly RunEvent[];
  /** The config as resolved, as YAML text. */
  readonly config: string;
  readonly categories?: readonly CategoryCounts[];
}

interface PublicApi {
  readonly readRun: (folder: string) => Promise<RunRecord> | RunRecord;
}

/** Loads the public API. */
export async function loadApi(): Promise<PublicApi> {
  const index = "../../index.ts";
  return (await import(index)) as PublicApi;
}
