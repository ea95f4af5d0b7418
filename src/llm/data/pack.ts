/**
 * Lays examples end to end in rows (packs) and cuts a step's rows into micro-batches.
 * Which examples a step takes is left to order.ts, several clients side by side to stack.ts.
 */
import { FedtuneError } from "../../core/base/errors.ts";
import { IGNORED_LABEL, type EncodedDataset, type PackedRows } from "./types.ts";

/** One row: its examples in order, and how many tokens they fill. */
interface Bin {
  readonly examples: number[];
  used: number;
}

/** Virtual tokens of a prompt method: each example has `count` of them in front, with ids from `firstId` upwards. */
export interface VirtualTokens {
  readonly count: number;
  readonly firstId: number;
}
const NONE: VirtualTokens = { count: 0, firstId: 0 };

/** Number of tokens of example `index`. */
function lengthOf(dataset: EncodedDataset, index: number): number {
  return (dataset.offsets[index + 1] ?? 0) - (dataset.offsets[index] ?? 0);
}

/** First-fit decreasing: longest example first, each into the first row that has room. Ties keep their order. */
function fillBins(dataset: EncodedDataset, indices: ArrayLike<number>, width: number, virtual: VirtualTokens): Bin[] {
  const order = Array.from(indices, (index, at) => ({ index, at, length: virtual.count + lengthOf(dataset, index) })).sort((a, b) => b.length - a.length || a.at - b.at);
  const bins: Bin[] = [];
  for (const { index, length } of order) {
    if (length > width) {
      throw new FedtuneError("config", { where: "packing", expected: `examples of at most ${width} tokens`, got: `one of ${length}`, remedy: "Rows must be at least as long as data.max_tokens" });
    }
    const bin = bins.find((b) => b.used + length <= width);
    if (bin === undefined) bins.push({ examples: [index], used: length });
    else {
      bin.examples.push(index);
      bin.used += length;
    }
  }
  return bins;
}

/** Writes rows as flat arrays; as wide as the longest of them. */
function layOut(dataset: EncodedDataset, bins: readonly Bin[], virtual: VirtualTokens): PackedRows {
  const width = bins.reduce((widest, bin) => Math.max(widest, bin.used), 0);
  const size = bins.length * width;
  const ids = new Int32Array(size); // [rows, width]
  const positions = new Int32Array(size);
  const segments = new Int32Array(size);
  const labelledRows: number[] = [];
  const targets: number[] = [];
  let examples = 0;
  for (const [row, bin] of bins.entries()) {
    let at = row * width;
    for (const [segment, index] of bin.examples.entries()) {
      const start = dataset.offsets[index] ?? 0;
      const length = lengthOf(dataset, index);
      for (let p = 0; p < virtual.count; p++, at++) {
        ids[at] = virtual.firstId + p;
        positions[at] = p;
        segments[at] = segment + 1;
      }
      for (let p = 0; p < length; p++, at++) {
        ids[at] = dataset.ids[start + p] ?? 0;
        positions[at] = virtual.count + p;
        segments[at] = segment + 1;
        const next = p + 1 < length ? (dataset.labels[start + p + 1] ?? IGNORED_LABEL) : IGNORED_LABEL;
        if (next === IGNORED_LABEL) continue;
        labelledRows.push(at);
        targets.push(next);
      }
      examples++;
    }
  }
  const tokens = bins.reduce((sum, bin) => sum + bin.used, 0) - examples * virtual.count;
  return { rows: bins.length, width, ids, positions, segments, labelledRows: Int32Array.from(labelledRows), targets: Int32Array.from(targets), examples, tokens };
}

/**
 * Packs examples into as few rows as first-fit decreasing finds, the longest examples first.
 * Rows are as wide as the longest of them, at most `width` tokens; the first token of an example is never a target.
 * An index that occurs twice is laid out twice. Throws FedtuneError "config" for an example longer than `width`.
 */
export function packExamples(dataset: EncodedDataset, indices: ArrayLike<number>, options: { readonly width: number; readonly virtual?: VirtualTokens }): PackedRows {
  const virtual = options.virtual ?? NONE;
  return layOut(dataset, fillBins(dataset, indices, options.width, virtual), virtual);
}

/** A pass costs its tokens, and of its attention as much again at this many tokens a row (measured, LOG.md). */
const ATTENTION_TOKENS = 2000;
/** What a pass costs by itself, in tokens. */
const PASS_TOKENS = 25;

/** Each width that is tried is this much of the one before. */
const NARROWER = 0.85;

interface BatchLimits {
  readonly width: number;
  readonly tokensPerMicroBatch: number;
}

/** Rows spread evenly over as few passes as the limits allow, widest first. */
function spread(bins: readonly Bin[], tokensPerMicroBatch: number): readonly (readonly Bin[])[] {
  const sorted = [...bins].sort((a, b) => b.used - a.used);
  const rowsEach = Math.max(1, Math.floor(tokensPerMicroBatch / Math.max(1, sorted[0]?.used ?? 1)));
  const batches = Math.ceil(sorted.length / rowsEach);
  return Array.from({ length: batches }, (_, i) => sorted.slice(Math.floor((i * sorted.length) / batches), Math.floor(((i + 1) * sorted.length) / batches)));
}

/** Estimated cost of passes, in tokens of a very narrow row. */
function costOf(batches: readonly (readonly Bin[])[]): number {
  return batches.reduce((sum, bins) => {
    const width = bins[0]?.used ?? 0;
    return sum + PASS_TOKENS + bins.length * width * (1 + width / ATTENTION_TOKENS);
  }, 0);
}

/** The examples of one pass in narrower rows, where that costs less and takes no more tokens than allowed: each pass has a longest example of its own. */
function narrowed(dataset: EncodedDataset, bins: readonly Bin[], { tokensPerMicroBatch, virtual }: { readonly tokensPerMicroBatch: number; readonly virtual: VirtualTokens }): readonly Bin[] {
  const examples = bins.flatMap((bin) => bin.examples);
  const widest = bins[0]?.used ?? 0;
  const longest = examples.reduce((most, index) => Math.max(most, virtual.count + lengthOf(dataset, index)), 1);
  let best = bins;
  let least = costOf([bins]);
  for (let w = widest * NARROWER; w > longest * NARROWER; w *= NARROWER) {
    const other = fillBins(dataset, examples, Math.max(longest, Math.floor(w)), virtual).sort((a, b) => b.used - a.used);
    const cost = costOf([other]);
    if (cost < least && (other.length === 1 || other.length * (other[0]?.used ?? 0) <= tokensPerMicroBatch)) [best, least] = [other, cost];
  }
  return best;
}

/** Bins of the width, from the widest allowed down to the longest example, whose passes cost least: wide rows waste attention, narrow ones padding. */
function cheapest(dataset: EncodedDataset, indices: ArrayLike<number>, { width, tokensPerMicroBatch }: BatchLimits, virtual: VirtualTokens): readonly (readonly Bin[])[] {
  const longest = Array.from(indices).reduce((most, index) => Math.max(most, virtual.count + lengthOf(dataset, index)), 1);
  const passes = (w: number): readonly (readonly Bin[])[] => spread(fillBins(dataset, indices, w, virtual), tokensPerMicroBatch);
  let best = passes(width);
  let least = costOf(best);
  for (let w = width * NARROWER; w > longest * NARROWER; w *= NARROWER) {
    const other = passes(Math.max(longest, Math.floor(w)));
    const cost = costOf(other);
    if (cost < least) [best, least] = [other, cost];
  }
  return best.map((bins) => narrowed(dataset, bins, { tokensPerMicroBatch, virtual }));
}

/**
 * The examples of a step packed and cut into micro-batches of at most `tokensPerMicroBatch` tokens, padding included (one
 * row where even that is longer). Rows are at most `width` tokens, narrower where that costs less. Long rows meet in
 * one batch and short ones in another, and each has the width that its own examples want. Errors as `packExamples`.
 */
export function microBatches(dataset: EncodedDataset, indices: ArrayLike<number>, options: BatchLimits & { readonly virtual?: VirtualTokens }): readonly PackedRows[] {
  const virtual = options.virtual ?? NONE;
  return cheapest(dataset, indices, options, virtual).map((bins) => layOut(dataset, bins, virtual));
}
