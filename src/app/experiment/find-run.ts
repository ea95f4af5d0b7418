/** Finds the run that an equal plan has already made: equal config, data, model and automatic choices, by the same software. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { FedtuneError } from "../../core/base/errors.ts";
import { canonicalJson } from "../../core/base/hash.ts";
import { readJournal } from "../../core/store/journal.ts";
import { journalEventSchema, type JournalEvent } from "../../federation/rounds/events.ts";
import { planHash, readPlan, type Plan } from "./plan.ts";
import { JOURNAL } from "./run-folder.ts";
import { versions } from "./versions.ts";

export interface FoundRun {
  readonly folder: string;
  readonly finished: boolean;
}

/** Libraries whose version decides about bytes. */
function deciding({ node: _node, ...others }: Readonly<Record<string, string>>): string {
  return canonicalJson(others);
}

/** Finds runs by plan; plans are read once, as they never change. */
export interface RunIndex {
  /** The run of an equal plan in a folder of runs: a finished one before one that was stopped. Undefined where there is none. */
  readonly find: (output: string, plan: Plan) => FoundRun | undefined;
}

export function indexRuns(): RunIndex {
  const hashes = new Map<string, string | undefined>();
  const hashOf = (folder: string): string | undefined => {
    if (!hashes.has(folder)) hashes.set(folder, orUndefined(() => planHash(readPlan(folder))));
    return hashes.get(folder);
  };
  return {
    find: (output, plan) => {
      const wanted = planHash(plan);
      const found = foldersIn(output).filter((folder) => hashOf(folder) === wanted).flatMap((folder) => stateOf(folder) ?? []);
      return found.find(({ finished }) => finished) ?? found[0];
    },
  };
}

function foldersIn(output: string): readonly string[] {
  try {
    return readdirSync(output, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
      .map(({ name }) => join(output, name))
      .sort();
  } catch {
    return [];
  }
}

/** How far a run is; undefined where other software made it. */
function stateOf(folder: string): FoundRun | undefined {
  const journal = join(folder, JOURNAL);
  if (!existsSync(journal)) return { folder, finished: false };
  const events = orUndefined(() => readJournal<JournalEvent>(journal, (value) => journalEventSchema.parse(value)).events);
  const started = events?.find((event) => event.type === "run-started");
  if (events === undefined || (started !== undefined && deciding(started.versions) !== deciding(versions()))) return undefined;
  return { folder, finished: events.some(({ type }) => type === "run-finished") };
}

/** Undefined in place of an error: folders that hold something else, or runs that this version cannot read. */
function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof FedtuneError) return undefined;
    throw error;
  }
}
