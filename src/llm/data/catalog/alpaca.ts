/** Stanford Alpaca: 52 thousand instructions with answers of text-davinci-003 (Taori et al. 2023). */
import type { Dataset } from "./dataset.ts";

export const alpaca: Dataset = {
  title: "52k instructions with answers of text-davinci-003",
  purpose: "training",
  licence: "CC-BY-NC-4.0",
  terms: "Not for commercial use; the answers are also bound by OpenAI's terms.",
  source: { host: "github", repository: "tatsu-lab/stanford_alpaca", revision: "761dc5bfbdeeffa89b8bff5d038781a4055f796a" },
  parts: { train: [{ path: "alpaca/alpaca_data.json", at: "alpaca_data.json" }] },
  part: "train",
  fields: { instruction: "instruction", input: "input", output: "output" },
};
