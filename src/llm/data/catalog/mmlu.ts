/** MMLU: questions with four choices on 57 subjects (Hendrycks et al. 2021). */
import type { Dataset } from "./dataset.ts";

export const mmlu: Dataset = {
  title: "14k questions with four choices on 57 subjects",
  purpose: "evaluation",
  licence: "MIT",
  source: { host: "none", from: "the test and dev tables of hendrycks/test (unpinned), one row each: subject, split, question, choices, answer" },
  parts: { test: [{ path: "mmlu/mmlu.jsonl", sha256: "1c6e9aeab54f68abb6b2d04fbb50971bdda80166192f93f61d0093842d969bca", sizeBytes: 7_890_342, rows: 14_327 }] },
  part: "test",
  fields: { instruction: "question", output: "answer", category: "subject" },
  note: "14,042 test questions and the five demonstrations of each subject (split dev); `answer` counts the choices from 0.",
};
