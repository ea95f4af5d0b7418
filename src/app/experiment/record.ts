/** Reads what a run has left in its folder, whether it is finished, stopped, or being written by another process. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import { withFileErrors } from "../../core/base/file-errors.ts";
import { readJournal } from "../../core/store/journal.ts";
import { journalEventSchema, type JournalEvent, type RunEvent, type Tick } from "../../federation/rounds/events.ts";
import type { CategoryCounts } from "../../llm/data/partition/counts.ts";
import { readMetrics } from "./metrics-file.ts";
import { readPlan, type Plan } from "./plan.ts";
import { JOURNAL, MANIFEST, METRICS, PLAN, runName } from "./run-folder.ts";

/** A run as its folder tells it. */
export interface RunRecord {
  /** The folder's name. */
  readonly name: string;
  readonly folder: string;
  /** Transitions and ticks in order of time; steps of a round that was done twice appear once, the later holding. */
  readonly events: readonly RunEvent[];
  /** The config as resolved, as YAML text and as it is read from it. */
  readonly config: string;
  readonly plan: Plan;
  /** Rows of each category at each client. */
  readonly categories?: CategoryCounts;
}

const manifestSchema = z.object({
  categories: z.object({ field: z.string().nullable(), categories: z.array(z.string()), clients: z.array(z.object({ name: z.string(), counts: z.array(z.number()) })) }),
});

/**
 * Reads a run's folder; nothing in it is locked or changed.
 * @throws FedtuneError("config") where it holds no run; ("data") naming file and line for a damaged journal
 */
export function readRun(folder: string): RunRecord {
  const plan = join(folder, PLAN);
  if (!existsSync(plan)) throw new FedtuneError("config", { where: folder, expected: `a run's folder, which holds ${PLAN}`, got: existsSync(folder) ? "none" : "no such folder", remedy: "Name a folder that `fedtune run` made" });
  const config = withFileErrors(plan, "a plan to read", () => readFileSync(plan, "utf8"));
  const journal = join(folder, JOURNAL);
  const transitions = existsSync(journal) ? readJournal<JournalEvent>(journal, (value) => journalEventSchema.parse(value)).events : [];
  const categories = readCategories(join(folder, MANIFEST));
  return { name: runName(folder), folder, events: inOrder(transitions, readMetrics(join(folder, METRICS))), config, plan: readPlan(folder), ...(categories && { categories }) };
}

function readCategories(path: string): CategoryCounts | undefined {
  try {
    return manifestSchema.safeParse(JSON.parse(readFileSync(path, "utf8"))).data?.categories;
  } catch {
    // The manifest is for people; a run without one can be read all the same.
    return undefined;
  }
}

function inOrder(transitions: readonly JournalEvent[], ticks: readonly Tick[]): readonly RunEvent[] {
  const latest = new Map(ticks.map((tick, i) => [tick.type === "step" ? `${tick.scenario} ${tick.round} ${tick.client} ${tick.step}` : String(i), tick]));
  // A stable sort: events of the same millisecond keep their order, transitions first.
  return [...transitions, ...latest.values()].toSorted((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
}
