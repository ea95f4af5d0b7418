/** A part of CodeAlpaca: programming instructions without a language column. */
import type { Dataset } from "./dataset.ts";

export const codealpaca: Dataset = {
  title: "6.5k programming instructions (part of CodeAlpaca)",
  purpose: "training",
  licence: "CC-BY-NC-4.0",
  terms: "May be measured on; neither it nor an adapter trained on it is shipped.",
  source: { host: "none", from: "a part of data/code_alpaca_20k.json of sahil280114/codealpaca@2f78ddc5c682ed6738ad092bbbfa59ba915afcb0" },
  parts: { train: [{ path: "codealpaca/codealpaca-6.5k.jsonl", sha256: "a570626ee7b5aff19774607bc5897c36a7f7b1fb0b952a538cfb6fa5d849920a", sizeBytes: 2_855_513, rows: 6552 }] },
  part: "train",
  fields: { instruction: "instruction", input: "input", output: "output", category: "language" },
  derive: ["language"],
  note: "`language` is derived by rule; how often it is right stands in docs/data.md.",
};
