/** What a report is made of: a run as its folder tells it, and where a reader finds more of it. */
import type { RunRecord } from "../../index.ts";

export interface ReportedRun extends RunRecord {
  /** Shown beside the config; absent: the versions that the run recorded. */
  readonly versions?: Readonly<Record<string, string>>;
  /** Where the run's own report or folder is, as seen from the page; for lists of runs. */
  readonly link?: string;
}
