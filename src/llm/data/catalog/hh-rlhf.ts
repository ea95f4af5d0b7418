/** Pairs of answers of which people prefer one, on harmful requests (Bai et al. 2022). */
import type { Dataset } from "./dataset.ts";

export const hhRlhf: Dataset = {
  title: "pairs of answers, one preferred, on harmful requests",
  purpose: "evaluation",
  licence: "MIT",
  terms: "Holds offensive text.",
  source: { host: "none", from: "harmless-base/test.jsonl.gz of anthropics/hh-rlhf@354e5c3c (the whole commit is not known)" },
  parts: { test: [{ path: "hh-rlhf/harmless-base-test.jsonl", sha256: "14d765196c9f18d84f9bb3a78bac608c8f2915110ebcbd74ec95db7b7198b008", sizeBytes: 3_280_164, rows: 2312 }] },
  part: "test",
  fields: { text: "chosen" },
};
