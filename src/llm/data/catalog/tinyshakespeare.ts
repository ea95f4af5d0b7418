/** The plays of Shakespeare in one file; each block is what one speaker says. */
import type { Dataset } from "./dataset.ts";

export const tinyshakespeare: Dataset = {
  title: "plays of Shakespeare, split by speaker",
  purpose: "training",
  licence: "public domain",
  source: { host: "github", repository: "karpathy/char-rnn", revision: "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e" },
  parts: { train: [{ path: "tinyshakespeare/input.txt", at: "data/tinyshakespeare/input.txt", sha256: "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed", sizeBytes: 1_115_394 }] },
  part: "train",
  format: "text",
  fields: { text: "text", category: "speaker" },
  derive: ["speaker"],
  note: "Use data.template plain, and partition by the field speaker.",
};
