/** Where things lie in a run's folder. */

/** The resolved plan. */
export const PLAN = "experiment.yaml";
export const JOURNAL = "journal.jsonl";
export const METRICS = "metrics.jsonl";
export const BLOBS = "blobs";
/** Who holds which rows. */
export const MANIFEST = "partition.json";
/** The adapter that is handed over, in PEFT's format. */
export const ADAPTER = "adapter";
