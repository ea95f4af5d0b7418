/** Alpaca with its mistakes mended (AlpacaDataCleaned). */
import type { Dataset } from "./dataset.ts";

export const alpaca_cleaned: Dataset = {
  title: "Alpaca with faulty rows mended or removed",
  purpose: "training",
  licence: "CC-BY-NC-4.0",
  terms: "Not for commercial use, as the data that it mends.",
  source: { host: "github", repository: "gururise/AlpacaDataCleaned", revision: "a7d629079a95c2e4b7ec7dfe55087fbd18d9eba8" },
  parts: { train: [{ path: "alpaca/alpaca_data_cleaned.json", at: "alpaca_data_cleaned.json" }] },
  part: "train",
  fields: { instruction: "instruction", input: "input", output: "output" },
};
