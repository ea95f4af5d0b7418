/** Tasks of Rosetta Code in nine languages, as instructions (from the CodeAlpaca repository). */
import type { Dataset } from "./dataset.ts";

export const rosetta_alpaca: Dataset = {
  title: "8k programming tasks of Rosetta Code in nine languages",
  purpose: "training",
  licence: "CC-BY-NC-4.0; the tasks of Rosetta Code are under GFDL-1.3",
  terms: "Not for commercial use.",
  source: { host: "github", repository: "sahil280114/codealpaca", revision: "d269da106a579a623a654529b3cb91b5dfa9c72f" },
  parts: { train: [{ path: "codealpaca/rosetta_alpaca.json", at: "data/rosetta_alpaca.json" }] },
  part: "train",
  fields: { instruction: "instruction", input: "input", output: "output", category: "input" },
  leaveOut: { field: "input", value: "X86-64 Assembly", reason: "too few rows, as in the reference system" },
  note: "`input` names the language: C, C#, C++, Go, Java, PHP, Pascal, Python or Scala.",
};
