/** Tokenises all examples of a data set into shared memory, counting what was cut off or left out. */
import { setImmediate } from "node:timers/promises";
import { interrupted } from "../../core/base/errors.ts";
import type { Example } from "./examples.ts";
import { encodeExample, type EncodeContext } from "./encode-example.ts";
import { IGNORED_LABEL, type EncodedDataset } from "./types.ts";

/** What became of the examples. */
export interface EncodeReport {
  /** Examples that came in. */
  readonly examples: number;
  /** Of those kept, how many were cut to max_tokens. */
  readonly truncated: number;
  /** Left out: longer than max_tokens where overflow is "drop", or with no learnt token in the first max_tokens. */
  readonly dropped: number;
  /** Tokens of those kept, and how many of them are targets. */
  readonly tokens: number;
  readonly labelledTokens: number;
}

export interface EncodedExamples {
  readonly dataset: EncodedDataset;
  readonly report: EncodeReport;
  /** `[encoded]` index of the example that each encoded one came from, ascending. */
  readonly kept: Int32Array;
}

export interface EncodeOptions extends EncodeContext {
  /** Told now and then how many examples are done. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** Examples between two breaths of the event loop: some tens of milliseconds. */
const EXAMPLES_PER_TURN = 64;

/** A growing array of 32-bit integers. */
class GrowingInts {
  #data = new Int32Array(1 << 16);
  length = 0;

  push(values: readonly number[]): void {
    if (this.length + values.length > this.#data.length) {
      const larger = new Int32Array(Math.max(this.#data.length * 2, this.length + values.length));
      larger.set(this.#data.subarray(0, this.length));
      this.#data = larger;
    }
    this.#data.set(values, this.length);
    this.length += values.length;
  }

  toShared(): Int32Array<SharedArrayBuffer> {
    const shared = new Int32Array(new SharedArrayBuffer(this.length * 4));
    shared.set(this.#data.subarray(0, this.length));
    return shared;
  }
}

/** Number of learnt tokens of each example that something predicts: all labelled ones but a first token. */
function countTargets(labels: readonly number[]): number {
  let count = 0;
  for (let p = 1; p < labels.length; p++) if (labels[p] !== IGNORED_LABEL) count++;
  return count;
}

/**
 * Encodes examples in their order. Lets the event loop run now and then, so that progress and signals stay alive.
 * Rejects with what the template throws (FedtuneError "data" with the row's place), or "interrupted" once `signal` is aborted.
 */
export async function encodeExamples(examples: readonly Example[], options: EncodeOptions): Promise<EncodedExamples> {
  const ids = new GrowingInts();
  const labels = new GrowingInts();
  const offsets: number[] = [0];
  const kept: number[] = [];
  let truncated = 0;
  let labelledTokens = 0;
  for (const [index, example] of examples.entries()) {
    if (index % EXAMPLES_PER_TURN === 0) {
      options.onProgress?.(index, examples.length);
      await setImmediate();
      if (options.signal?.aborted === true) throw interrupted("tokenising");
    }
    const encoded = encodeExample(example, options);
    if (encoded === undefined) continue;
    ids.push(encoded.ids);
    labels.push(encoded.labels);
    offsets.push(ids.length);
    kept.push(index);
    if (encoded.truncated) truncated++;
    labelledTokens += countTargets(encoded.labels);
  }
  options.onProgress?.(examples.length, examples.length);
  const shared = new Int32Array(new SharedArrayBuffer(offsets.length * 4));
  shared.set(offsets);
  return {
    dataset: { ids: ids.toShared(), labels: labels.toShared(), offsets: shared },
    report: { examples: examples.length, truncated, dropped: examples.length - kept.length, tokens: ids.length, labelledTokens },
    kept: Int32Array.from(kept),
  };
}
