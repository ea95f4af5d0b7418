/** Requests for harmful behaviour, for safety checks (Zou et al. 2023). */
import type { Dataset } from "./dataset.ts";

export const advbench: Dataset = {
  title: "520 requests for harmful behaviour, for safety checks",
  purpose: "evaluation",
  licence: "MIT",
  terms: "Holds harmful requests; not to be trained on.",
  source: { host: "github", repository: "llm-attacks/llm-attacks", revision: "main" },
  parts: { test: [{ path: "advbench/advbench.csv", at: "data/advbench/harmful_behaviors.csv", sha256: "6cd1a5c63c07610d7eb67307772ee5606017ee950b5770ab288a2c487489d3e1", sizeBytes: 82_125, rows: 520 }] },
  part: "test",
  fields: { instruction: "goal", output: "target" },
};
