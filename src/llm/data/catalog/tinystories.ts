/** Samples of TinyStories: short stories in simple words (Eldan and Li 2023). */
import type { Dataset } from "./dataset.ts";

export const tinystories: Dataset = {
  title: "samples of short stories in simple words",
  purpose: "training",
  licence: "CDLA-Sharing-1.0",
  source: { host: "none", from: "the first megabytes of roneneldan/TinyStories on the Hub (unpinned), whose separators of stories were lost" },
  parts: {
    train: [{ path: "tinystories/train-0.9MB.txt", sha256: "c56cfd24fb1c542b141a396184b822a4db3672abdb4c49c6aa843171c5e822a5", sizeBytes: 944_426 }],
    validation: [{ path: "tinystories/valid-0.8MB.txt", sha256: "5fc1fb0113df62b567fb271806cd645ce8d75f59c58ca0b764c03d3b6ff34ca6", sizeBytes: 794_375 }],
  },
  part: "train",
  format: "text",
  fields: { text: "text" },
  note: "Blocks between blank lines are rows: paragraphs rather than stories.",
};
