/** GSM8K: school mathematics in words, with worked answers (Cobbe et al. 2021). */
import type { Dataset } from "./dataset.ts";

export const gsm8k: Dataset = {
  title: "school mathematics in words, with worked answers",
  purpose: "training",
  licence: "MIT",
  source: { host: "github", repository: "openai/grade-school-math", revision: "3101c7d5072418e28b9008a6636bde82a006892c" },
  parts: {
    train: [{ path: "gsm8k/train.jsonl", at: "grade_school_math/data/train.jsonl", sha256: "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465", sizeBytes: 4_166_206, rows: 7473 }],
    test: [{ path: "gsm8k/test.jsonl", at: "grade_school_math/data/test.jsonl", sha256: "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14", sizeBytes: 749_738, rows: 1319 }],
    shots: [{ path: "gsm8k/cot-8-shot.jsonl", sha256: "834e15ff15ab7058dfb6d1d928a6263a3637cfbf9a2f9240eea3753c2e3463c6", sizeBytes: 2317, rows: 8 }],
  },
  part: "train",
  fields: { instruction: "question", output: "answer" },
  replace: [{ field: "answer", from: "####", to: "The answer is" }],
  note: "`shots` are the eight published chain-of-thought demonstrations (Wei et al. 2022, arXiv 2201.11903): question and target, not to be fetched.",
};
