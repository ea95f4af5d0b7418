/** Sets the packed rows of several clients side by side, in arrays of one shape. */
import type { PackedRows } from "./types.ts";

/** Rows of C clients, padded to common sizes: `B` rows of `T` tokens and `L` labelled positions each; none of them is 0. */
export interface StackedRows {
  readonly clients: number;
  readonly rows: number;
  readonly width: number;
  readonly labelled: number;
  /** `[C, B, T]`; padding is 0 in all three. */
  readonly ids: Int32Array;
  readonly positions: Int32Array;
  readonly segments: Int32Array;
  /** `[C, L]` index b * T + t within the client of each position whose next token is labelled; 0 on padding. */
  readonly labelledRows: Int32Array;
  /** `[C, L]` the id of that next token; 0 on padding. */
  readonly targets: Int32Array;
  /** `[C, L]` 1 on real entries, 0 on padding. */
  readonly weights: Float32Array;
}

function most(packs: readonly (PackedRows | undefined)[], size: (pack: PackedRows) => number): number {
  return packs.reduce((largest, pack) => Math.max(largest, pack === undefined ? 1 : size(pack)), 1);
}

/**
 * Stacks one pack per client; `undefined` stands for a client that has nothing in this micro-batch. Rows are a multiple of
 * `multiple` tokens long (default 1).
 */
export function stackClients(packs: readonly (PackedRows | undefined)[], { multiple = 1 }: { readonly multiple?: number } = {}): StackedRows {
  const clients = packs.length;
  const rows = most(packs, (pack) => pack.rows);
  const width = Math.ceil(most(packs, (pack) => pack.width) / multiple) * multiple;
  const labelled = most(packs, (pack) => pack.labelledRows.length);
  const ids = new Int32Array(clients * rows * width); // [C, B, T]
  const positions = new Int32Array(ids.length);
  const segments = new Int32Array(ids.length);
  const labelledRows = new Int32Array(clients * labelled); // [C, L]
  const targets = new Int32Array(labelledRows.length);
  const weights = new Float32Array(labelledRows.length);
  for (const [client, pack] of packs.entries()) {
    if (pack === undefined) continue;
    for (let row = 0; row < pack.rows; row++) {
      const from = row * pack.width;
      const to = (client * rows + row) * width;
      ids.set(pack.ids.subarray(from, from + pack.width), to);
      positions.set(pack.positions.subarray(from, from + pack.width), to);
      segments.set(pack.segments.subarray(from, from + pack.width), to);
    }
    const first = client * labelled;
    targets.set(pack.targets, first);
    weights.fill(1, first, first + pack.targets.length);
    for (const [i, flat] of pack.labelledRows.entries()) {
      labelledRows[first + i] = Math.floor(flat / pack.width) * width + (flat % pack.width);
    }
  }
  return { clients, rows, width, labelled, ids, positions, segments, labelledRows, targets, weights };
}
