/**
 * Keys and values of what has been read and written so far, while texts grow by one token a row: buffers with room for more,
 * which runs are fed as they are. A run gives back the keys and values of its own token only, so that nothing is copied
 * but these.
 */
import { must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import { HIDDEN_POSITION } from "./graphs.ts";

/** Keys by which the room grows: attention also runs over what is still empty. */
const BLOCK = 64;

export interface DecodeCacheStart {
  /** Keys and values after the prompts, by output name (`key_i`, `value_i`): float32 `[X, K, S, E]`. */
  readonly outputs: Readonly<Record<string, Tensor>>;
  readonly layers: number;
  /** int32 `[X, S]` of the keys there are. */
  readonly positions: Tensor;
}

/** A cache of X rows. */
export class DecodeCache {
  #rows: number;
  readonly #heads: number;
  readonly #width: number;
  /** Keys that are filled, and for which there is room. */
  #length: number;
  #room: number;
  /** `[X, K, room, E]` by input name. */
  readonly #states = new Map<string, Float32Array>();
  /** `[X, room + 1]`: the last is the token's own. */
  #positions: Int32Array;
  /** `[X]`: positions of the tokens that were fed last. */
  #own: Int32Array = new Int32Array();

  constructor({ outputs, layers, positions }: DecodeCacheStart) {
    const first = must(outputs["key_0"], "key_0");
    [this.#rows = 1, this.#heads = 1, this.#length = 0, this.#width = 1] = first.shape;
    this.#room = this.#length;
    for (let i = 0; i < layers; i++) {
      for (const kind of ["key", "value"] as const) {
        // The graph declares them as float32.
        this.#states.set(`past_${kind}_${i}`, must(outputs[`${kind}_${i}`], kind).data as Float32Array);
      }
    }
    this.#positions = new Int32Array(this.#rows * (this.#room + 1));
    // The graph declares them as int32.
    for (let row = 0; row < this.#rows; row++) this.#positions.set((positions.data as Int32Array).subarray(row * this.#length, (row + 1) * this.#length), row * (this.#room + 1));
  }

  /** A cache of rows of others, in this order: of each only what somebody sees, moved to the front. */
  static join(parts: readonly { readonly cache: DecodeCache; readonly rows: readonly number[] }[]): DecodeCache {
    const first = must(parts[0], "a cache").cache;
    const taken = parts.flatMap(({ cache, rows }) => rows.map((row) => ({ cache, row, seen: cache.#seen(row) })));
    const length = Math.max(0, ...taken.map(({ seen }) => seen.length));
    const positions = new Int32Array(taken.length * length).fill(HIDDEN_POSITION);
    const shape = [taken.length, first.#heads, length, first.#width];
    const outputs = Object.fromEntries([...first.#states.keys()].map((name): [string, Tensor] => {
      const data = new Float32Array(taken.length * first.#heads * length * first.#width);
      taken.forEach(({ cache, row, seen }, at) => {
        const old = must(cache.#states.get(name), name);
        for (let head = 0; head < first.#heads; head++) {
          const [from, to] = [(row * first.#heads + head) * cache.#room, (at * first.#heads + head) * length];
          seen.forEach((key, i) => data.set(old.subarray((from + key) * first.#width, (from + key + 1) * first.#width), (to + i) * first.#width));
        }
      });
      return [name.slice("past_".length), tensor("float32", shape, data)];
    }));
    taken.forEach(({ cache, row, seen }, at) => seen.forEach((key, i) => (positions[at * length + i] = cache.#positions[row * (cache.#room + 1) + key] ?? HIDDEN_POSITION)));
    return new DecodeCache({ outputs, layers: first.#states.size / 2, positions: tensor("int32", [taken.length, length], positions) });
  }

  /** The keys of a row that hold something. */
  #seen(row: number): readonly number[] {
    const start = row * (this.#room + 1);
    return Array.from({ length: this.#length }, (_, key) => key).filter((key) => this.#positions[start + key] !== HIDDEN_POSITION);
  }

  #grow(): void {
    const [from, to] = [this.#room, (Math.floor(this.#length / BLOCK) + 1) * BLOCK];
    const rows = this.#rows * this.#heads;
    for (const [name, old] of this.#states) {
      const wider = new Float32Array(rows * to * this.#width);
      for (let row = 0; row < rows; row++) wider.set(old.subarray(row * from * this.#width, (row * from + this.#length) * this.#width), row * to * this.#width);
      this.#states.set(name, wider);
    }
    const positions = new Int32Array(this.#rows * (to + 1)).fill(HIDDEN_POSITION);
    for (let row = 0; row < this.#rows; row++) positions.set(this.#positions.subarray(row * (from + 1), row * (from + 1) + this.#length), row * (to + 1));
    this.#positions = positions;
    this.#room = to;
  }

  /** Goes on with these rows alone, in this order. */
  keep(rows: readonly number[]): void {
    const size = this.#heads * this.#room * this.#width;
    for (const [name, old] of this.#states) {
      const kept = new Float32Array(rows.length * size);
      rows.forEach((row, i) => kept.set(old.subarray(row * size, (row + 1) * size), i * size));
      this.#states.set(name, kept);
    }
    const positions = new Int32Array(rows.length * (this.#room + 1));
    rows.forEach((row, i) => positions.set(this.#positions.subarray(row * (this.#room + 1), (row + 1) * (this.#room + 1)), i * (this.#room + 1)));
    this.#positions = positions;
    this.#rows = rows.length;
  }

  /** What a run is fed for tokens at these positions, one a row: past_key_i, past_value_i and key_positions `[X, S]`. Valid until `append`. */
  feeds(positions: Int32Array): Record<string, Tensor> {
    this.#own = positions;
    positions.forEach((position, row) => {
      this.#positions[row * (this.#room + 1) + this.#room] = position;
    });
    const shape = [this.#rows, this.#heads, this.#room, this.#width];
    const states = [...this.#states].map(([name, data]) => [name, tensor("float32", shape, data)] as const);
    return { ...Object.fromEntries(states), key_positions: tensor("int32", [this.#rows, this.#room + 1], this.#positions) };
  }

  /** Takes over the keys and values of the tokens that a run was just fed: outputs key_i, value_i `[X, K, 1, E]`. */
  append(outputs: Readonly<Record<string, Tensor>>): void {
    if (this.#length === this.#room) this.#grow();
    const rows = this.#rows * this.#heads;
    for (const [name, state] of this.#states) {
      // The graph declares them as float32.
      const own = must(outputs[name.slice("past_".length)], name).data as Float32Array;
      for (let row = 0; row < rows; row++) state.set(own.subarray(row * this.#width, (row + 1) * this.#width), (row * this.#room + this.#length) * this.#width);
    }
    this.#own.forEach((position, row) => {
      this.#positions[row * (this.#room + 1) + this.#length] = position;
    });
    this.#length++;
  }
}
