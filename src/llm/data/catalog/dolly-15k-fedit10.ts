/** Dolly in the published non-IID split over ten clients (FedIT, Shepherd; Zhang et al. 2023). */
import type { Dataset } from "./dataset.ts";

export const dolly15kFedit10: Dataset = {
  title: "dolly-15k in the published split over ten clients",
  purpose: "training",
  licence: "CC-BY-SA-3.0",
  source: { host: "none", from: "databricks-dolly-15k and the split of JayZhang42/FederatedGPT-Shepherd (unpinned)" },
  parts: { train: [{ path: "dolly15k/dolly15k-fedit10.jsonl", sha256: "846569660f38cc664f6402a0f4bff7d27a47b214ac1b9a091cc5d3c16d9d116d", sizeBytes: 13_482_987, rows: 15_011 }] },
  part: "train",
  fields: { instruction: "instruction", input: "context", output: "response", category: "category" },
  client: "client",
  split: "split",
  note: "For partition.method own; 80 rows belong to no client and are the global test.",
};
