/** HumanEval: Python functions to be completed, with tests (Chen et al. 2021). */
import type { Dataset } from "./dataset.ts";

export const humaneval: Dataset = {
  title: "164 Python functions to be completed, with tests",
  purpose: "evaluation",
  licence: "MIT",
  source: { host: "github", repository: "openai/human-eval", revision: "6d43fb980f9fee3c892a914eda09951f772ad10d" },
  parts: { test: [{ path: "humaneval/HumanEval.jsonl", at: "data/HumanEval.jsonl.gz", sha256: "1d49078ba3e2b196b9344535bef34a43021f038fad9561d6ee7c53450609a6a2", sizeBytes: 214_438, rows: 164 }] },
  part: "test",
  fields: { instruction: "prompt", output: "canonical_solution" },
};
