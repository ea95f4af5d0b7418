/** Conversations with a preferred and a rejected answer, for checks of preference training. */
import type { Dataset } from "./dataset.ts";

export const dpoDemo: Dataset = {
  title: "300 conversations with a preferred and a rejected answer",
  purpose: "evaluation",
  licence: "Apache-2.0 (the repository's)",
  source: { host: "none", from: "data/dpo_en_demo.json of hiyouga/LLaMA-Factory@ff6d4d12 (the whole commit is not known)" },
  parts: { train: [{ path: "dpo/dpo_en_demo.json", sha256: "b949be2421cfa62744afcf1b479f95b299d643d1a4c1c97d1341b314a1aa5cb3", sizeBytes: 1_575_286, rows: 300 }] },
  part: "train",
  fields: { messages: "conversations" },
  note: "`conversations` ends with the user's turn; the answers are `chosen` and `rejected`.",
};
