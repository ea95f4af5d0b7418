/** What the data rooms hand to training: tokenised examples, who holds which, and packed rows. */

/** A label that no loss is computed for, as in PyTorch's `ignore_index`. */
export const IGNORED_LABEL = -100;

/**
 * All examples of a data set, tokenised once, laid end to end in shared memory so that workers read them without a copy.
 * Example `i` holds positions `offsets[i]` to `offsets[i + 1]` (exclusive) of `ids` and `labels`.
 */
export interface EncodedDataset {
  /** Token ids. */
  readonly ids: Int32Array<SharedArrayBuffer>;
  /** `labels[p]` is `ids[p]` where the token is to be learnt, else IGNORED_LABEL (not shifted, as Hugging Face has it). */
  readonly labels: Int32Array<SharedArrayBuffer>;
  /** `[examples + 1]` start positions. */
  readonly offsets: Int32Array<SharedArrayBuffer>;
}

/** The examples of one client, as indices into the EncodedDataset. */
export interface ClientExamples {
  /** Shown to people: a field value, a file's name, or the client's number. */
  readonly name: string;
  readonly train: Int32Array;
  readonly validation: Int32Array;
  readonly test: Int32Array;
}

/** Who holds which examples. */
export interface Partition {
  readonly clients: readonly ClientExamples[];
  /** Rows without a client; never used to select anything. */
  readonly globalTest: Int32Array;
}

/**
 * Examples of one client laid end to end in `rows` rows of `width` tokens (a pack each).
 * Attention stays within a segment; positions restart at 0 in each.
 */
export interface PackedRows {
  readonly rows: number;
  readonly width: number;
  /** `[rows * width]`; padding has id 0. */
  readonly ids: Int32Array;
  /** `[rows * width]` position within the example. */
  readonly positions: Int32Array;
  /** `[rows * width]` 1, 2, … per example within its row; 0 on padding. */
  readonly segments: Int32Array;
  /** `[L]` flat index (row * width + column) of each position whose next token is labelled. */
  readonly labelledRows: Int32Array;
  /** `[L]` the id of that next token. */
  readonly targets: Int32Array;
  /** Number of examples laid out. */
  readonly examples: number;
  /** Number of tokens that are not padding. */
  readonly tokens: number;
}
