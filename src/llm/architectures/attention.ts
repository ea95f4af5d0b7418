/** Causal attention with grouped key-value heads, and its masks. Shared by architectures. */
import { tensor } from "../../core/base/tensor.ts";
import { divideDim, multiplyDims } from "../../engine/graph/dims.ts";
import type { Dim } from "../../engine/graph/dims.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { LayerCache } from "./sites.ts";

/** Added to scores that may not be seen: exp of it is 0, and a row of nothing else stays finite. */
const HIDDEN = -1e30;

export interface AttentionShape {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headWidth: number;
  /** Scores are multiplied by it; default 1 / √E. */
  readonly scale?: number;
  /** Scores become cap · tanh(score / cap) (Gemma 2); 0 or absent: unchanged. */
  readonly softCap?: number;
}

/** Which keys a token may look at. */
export interface Sight {
  /** float32 `[X, 1, 1, T, S]`: 0 where a query may look at a key and very negative elsewhere. A window counts the tokens looked back upon, the own included. */
  mask(window?: number): Value;
  /** int32 `[X, T]` */
  readonly queryPositions: Value;
  /** int32 `[X, S]` position of each key within its example. */
  readonly keyPositions: Value;
  /** The same, cut into runs of queries of equal length, each with the keys up to its end, as none sees a later one; absent: in one. */
  readonly blocks?: readonly Sight[];
}

/** Scores' addend of bool `[X, T, S]`: float32 `[X, 1, 1, T, S]`, 0 where a key is seen. */
export function maskFrom(visible: Value): Value {
  const [x = 1, t = 1, s = 1] = visible.shape;
  const zero = g.scalar(visible, 0);
  return g.reshape(g.where(visible, zero, g.scalar(visible, HIDDEN)), [x, 1, 1, t, s]);
}

/** Whether a key is not later than a query and within its window: bool `[X, T, S]`. */
export function isBehind(queryPositions: Value, keyPositions: Value, window: number | undefined): Value {
  const [x = 1, t = 1] = queryPositions.shape;
  const [queries, keys] = [g.reshape(queryPositions, [x, t, 1]), g.reshape(keyPositions, [x, 1, keyPositions.shape[1] ?? 1])];
  const notLater = g.lessOrEqual(keys, queries);
  if (window === undefined) return notLater;
  const oldest = g.add(queries, queries.builder.constant(tensor("int32", [], Int32Array.of(1 - window))));
  return g.and(notLater, g.lessOrEqual(oldest, keys));
}

/** The first 1, 2, … `count` parts of a value whose axis is `count` equal parts long. */
function beginnings(x: Value, axis: number, count: number): readonly Value[] {
  const part = divideDim(x.shape[axis] ?? 1, count);
  const all: Value[] = [x];
  let parts = g.reshape(x, x.shape.toSpliced(axis, 1, count, part));
  for (let n = count - 1; n > 0; n--) {
    [parts = parts] = g.split(parts, axis, [n, 1]);
    all.unshift(g.reshape(parts, x.shape.with(axis, multiplyDims(n, part))));
  }
  return all;
}

interface Labels {
  /** int32 `[X, T]` */
  readonly segments: Value;
  /** int32 `[X, T]` */
  readonly positions: Value;
}

function sightOf(queries: Labels, keys: Labels): Sight {
  const [x = 1, t = 1] = queries.segments.shape;
  const s = keys.segments.shape[1] ?? 1;
  return {
    queryPositions: queries.positions,
    keyPositions: keys.positions,
    mask: (window) => maskFrom(g.and(g.equal(g.reshape(queries.segments, [x, t, 1]), g.reshape(keys.segments, [x, 1, s])), isBehind(queries.positions, keys.positions, window))),
  };
}

/**
 * Sight within packs: a token sees its own segment up to itself. Segments and positions int32 `[X, T]`, T a multiple of
 * `blocks`: half of all pairs are of a key behind its query, and of these a block leaves out those behind its end.
 */
export function packSight(segments: Value, positions: Value, blocks = 1): Sight {
  const whole = sightOf({ segments, positions }, { segments, positions });
  if (blocks === 1) return whole;
  const [x = 1, t = 1] = segments.shape;
  const part = divideDim(t, blocks);
  const runs = (labels: Value): readonly Value[] => g.split(g.reshape(labels, [x, blocks, part]), 1, Array.from({ length: blocks }, () => 1)).map((run) => g.reshape(run, [x, part]));
  const [ownSegments, ownPositions, keySegments, keyPositions] = [runs(segments), runs(positions), beginnings(segments, 1, blocks), beginnings(positions, 1, blocks)];
  return {
    ...whole,
    blocks: ownSegments.map((own, i) => sightOf({ segments: own, positions: ownPositions[i] ?? positions }, { segments: keySegments[i] ?? segments, positions: keyPositions[i] ?? positions })),
  };
}

/** Sight by positions alone: queries int32 `[X, T]`, keys int32 `[X, S]`. A key to hide has a position beyond any query's. */
export function positionSight(queryPositions: Value, keyPositions: Value): Sight {
  return { queryPositions, keyPositions, mask: (window) => maskFrom(isBehind(queryPositions, keyPositions, window)) };
}

/** Sight where `n` keys at positions 0 … n − 1 stand before the others, seen by every example; positions of the others count on from n. */
export function prefixSight(own: Sight, n: number, keys: string): Sight {
  const [x = 1] = own.keyPositions.shape;
  const first = own.keyPositions.builder.constant(tensor("int32", [1, n], Int32Array.from({ length: n }, (_, i) => i)));
  const positions = g.expand(first, [x, n]);
  return {
    queryPositions: own.queryPositions,
    keyPositions: g.concat([positions, own.keyPositions], 1, keys),
    mask: (window) => g.concat([maskFrom(isBehind(own.queryPositions, positions, window)), own.mask(window)], 4, keys),
  };
}

/** Queries, keys and values `[C, N, H·E]` each, of one module's output `[C, N, H·3·E]` that holds them head by head. */
export function splitByHead(x: Value, heads: number, width: number): { readonly q: Value; readonly k: Value; readonly v: Value } {
  const [clients = 1, flat = 1] = x.shape;
  const [q = x, k = x, v = x] = g.split(g.reshape(x, [clients, flat, heads, 3, width]), 3, [1, 1, 1]).map((part) => g.reshape(part, [clients, flat, heads * width]));
  return { q, k, v };
}

/** `[X, T, H·E]` → `[X, H, T, E]`. */
export function splitHeads(x: Value, heads: number, width: number): Value {
  const [rows = 1, tokens = 1] = x.shape;
  if (tokens === 1) return g.reshape(x, [rows, heads, 1, width]);
  return g.transpose(g.reshape(x, [rows, tokens, heads, width]), [0, 2, 1, 3]);
}

/**
 * softmax(scale · Q Kᵀ + mask) V (Vaswani et al. 2017, eq. 1). Queries of a group share a key head by being laid under
 * one another, so keys and values are never repeated.
 * @param queries `[X, K, G·T, E]`
 * @param cache keys and values `[X, K, S, E]`
 * @param mask `[X, 1, 1, T, S]`, or anything that broadcasts to `[X, K, G, T, S]`
 * @returns `[X, K, G·T, E]`
 */
function mix(queries: Value, { key, value }: LayerCache, mask: Value, { heads, keyValueHeads, headWidth, scale = 1 / Math.sqrt(headWidth), softCap = 0 }: AttentionShape): Value {
  const [x = 1, , rows = 1] = queries.shape;
  const s: Dim = key.shape[2] ?? 1;
  const group = heads / keyValueHeads;
  const scores = g.matMul(queries, key, { transB: true, alpha: softCap === 0 ? scale : scale / softCap }); // [X, K, G·T, S]
  const capped = softCap === 0 ? scores : g.mul(g.tanh(scores), softCap);
  const masked = g.add(g.reshape(capped, [x, keyValueHeads, group, divideDim(rows, group), s]), mask); // [X, K, G, T, S]
  return g.softmaxProduct(g.reshape(masked, [x, keyValueHeads, rows, s]), value);
}

/**
 * Attention of all queries over all keys.
 * @param queries `[X, H, T, E]`
 * @param cache keys and values `[X, K, S, E]`
 * @param mask `[X, 1, 1, T, S]`, or anything that broadcasts to `[X, K, H / K, T, S]`
 * @returns `[X, T, H·E]`
 */
export function attend(queries: Value, cache: LayerCache, mask: Value, shape: AttentionShape): Value {
  const { heads, keyValueHeads, headWidth } = shape;
  const [x = 1, , t = 1] = queries.shape;
  const mixed = mix(g.reshape(queries, [x, keyValueHeads, multiplyDims(heads / keyValueHeads, t), headWidth]), cache, mask, shape); // [X, K, G·T, E]
  const byToken = g.transpose(g.reshape(mixed, [x, heads, t, headWidth]), [0, 2, 1, 3]); // [X, T, H, E]
  return g.reshape(byToken, [x, t, heads * headWidth]);
}

/**
 * The same values by way of one that joins them along an axis. Their gradients are joined too, so that all of them are made at
 * one time: onnxruntime would make those of all values V first, then those of all K, and hold what both need in between.
 */
function tie(parts: readonly Value[], axis: number): readonly Value[] {
  const [first, ...others] = parts;
  return first === undefined ? [] : g.split(g.concat([first, ...others], axis), axis, parts.map(({ shape }) => shape[axis] ?? 1));
}

/**
 * The same by blocks of queries (n of U tokens, T = n · U), block i over the first (i + 1) · U keys: scores of later keys are
 * neither made nor kept, and those of one block at a time are in memory.
 * @param queries `[X, T, H·E]`
 * @param cache keys and values `[X, K, T, E]`
 * @param masks of each block, `[X, 1, 1, U, (i + 1) · U]`, or anything that broadcasts to `[X, K, H / K, U, (i + 1) · U]`
 * @returns `[X, T, H·E]`
 */
export function attendInBlocks(queries: Value, { key, value }: LayerCache, masks: readonly Value[], shape: AttentionShape): Value {
  const { heads, keyValueHeads, headWidth } = shape;
  const [x = 1, t = 1] = queries.shape;
  const n = masks.length;
  const u = divideDim(t, n);
  const byBlock = g.transpose(g.reshape(queries, [x, n, u, heads, headWidth]), [0, 1, 3, 2, 4]); // [X, n, H, U, E]
  const blocks = g.split(byBlock, 1, masks.map(() => 1));
  const [keys, values] = [beginnings(key, 2, n), beginnings(value, 2, n)];
  const mixed = masks.map((mask, i): Value => {
    const lengths = [heads / keyValueHeads, i + 1, i + 1];
    const apart = [blocks[i] ?? byBlock, keys[i] ?? key, values[i] ?? value].map((part, j) => g.reshape(part, [x, keyValueHeads, lengths[j] ?? 1, u, headWidth]));
    const [own = byBlock, seen = key, weighed = value] = tie(apart, 2).map((part, j) => g.reshape(part, [x, keyValueHeads, multiplyDims(lengths[j] ?? 1, u), headWidth]));
    return g.reshape(mix(own, { key: seen, value: weighed }, mask, shape), [x, 1, heads, u, headWidth]);
  });
  const [first = byBlock, ...others] = mixed;
  const byToken = g.transpose(g.concat([first, ...others], 1), [0, 1, 3, 2, 4]); // [X, n, U, H, E]
  return g.reshape(byToken, [x, t, heads * headWidth]);
}

/**
 * `attend` of one token a row over earlier ones and itself, as two pairs of products: what came before is read where it lies.
 * @param queries `[X, 1, H·E]`
 * @param past keys and values `[X, K, P, E]`
 * @param own keys and values `[X, K, 1, E]`
 * @param mask `[X, K or 1, H / K or 1, 1, S]` with S = P + 1
 * @param keys name of S
 * @returns `[X, 1, H·E]`
 */
export function attendOneToken(queries: Value, { past, own, keys }: { readonly past: LayerCache; readonly own: LayerCache; readonly keys: string }, mask: Value, { heads, keyValueHeads, headWidth, scale = 1 / Math.sqrt(headWidth), softCap = 0 }: AttentionShape): Value {
  const [x = 1] = queries.shape;
  const q = g.reshape(queries, [x, keyValueHeads, heads / keyValueHeads, headWidth]); // [X, K, G, E]
  const scoresOf = (key: Value): Value => g.matMul(q, key, { transB: true, alpha: softCap === 0 ? scale : scale / softCap });
  const scores = g.concat([scoresOf(past.key), scoresOf(own.key)], 3, keys); // [X, K, G, S]
  const capped = softCap === 0 ? scores : g.mul(g.tanh(scores), softCap);
  const [, k = 1, groups = 1, , s = 1] = mask.shape;
  const probabilities = g.softmax(g.add(capped, g.reshape(mask, [x, k, groups, s])));
  const [before = probabilities, self = probabilities] = g.split(probabilities, 3, [past.key.shape[2] ?? 1, 1]);
  return g.reshape(g.add(g.matMul(before, past.value), g.mul(self, own.value)), [x, 1, heads * headWidth]);
}
