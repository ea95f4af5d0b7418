/** Databricks Dolly: 15 thousand instructions of eight kinds, written by people. */
import type { Dataset } from "./dataset.ts";

export const dolly15k: Dataset = {
  title: "15k instructions of eight kinds, written by people",
  purpose: "training",
  licence: "CC-BY-SA-3.0",
  source: { host: "github", repository: "databrickslabs/dolly", revision: "d000e3030970379aabbf6d291f50ffdd3b715b64" },
  parts: { train: [{ path: "dolly15k/databricks-dolly-15k.jsonl", at: "data/databricks-dolly-15k.jsonl" }] },
  part: "train",
  fields: { instruction: "instruction", input: "context", output: "response", category: "category" },
  note: "The same rows with ten published clients are dolly-15k-fedit10.",
};
