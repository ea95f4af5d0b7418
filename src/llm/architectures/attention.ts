/** Causal attention with grouped key-value heads, and its masks. Shared by architectures. */
import { multiplyDims } from "../../engine/graph/dims.ts";
import type { Dim } from "../../engine/graph/dims.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { LayerCache } from "./architecture.ts";

/** Added to scores that may not be seen: exp of it is 0, and a row of nothing else stays finite. */
const HIDDEN = -1e30;

export interface HeadLayout {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headWidth: number;
}

function maskFrom(visible: Value): Value {
  const [x = 1, t = 1, s = 1] = visible.shape;
  const zero = g.scalar(visible, 0);
  return g.reshape(g.where(visible, zero, g.scalar(visible, HIDDEN)), [x, 1, 1, t, s]);
}

/** Mask of packs: a token sees its own segment up to itself. Segments and positions int32 `[X, T]` → `[X, 1, 1, T, T]`. */
export function packMask(segments: Value, positions: Value): Value {
  const [x = 1, t = 1] = segments.shape;
  const sameSegment = g.equal(g.reshape(segments, [x, t, 1]), g.reshape(segments, [x, 1, t]));
  const notLater = g.lessOrEqual(g.reshape(positions, [x, 1, t]), g.reshape(positions, [x, t, 1]));
  return maskFrom(g.and(sameSegment, notLater));
}

/** Mask by positions alone: queries int32 `[X, T]`, keys int32 `[X, S]` → `[X, 1, 1, T, S]`. A key to hide has a position beyond any query's. */
export function positionMask(queryPositions: Value, keyPositions: Value): Value {
  const [x = 1, t = 1] = queryPositions.shape;
  const s = keyPositions.shape[1] ?? 1;
  return maskFrom(g.lessOrEqual(g.reshape(keyPositions, [x, 1, s]), g.reshape(queryPositions, [x, t, 1])));
}

/** `[X, T, H·E]` → `[X, H, T, E]`. */
export function splitHeads(x: Value, heads: number, width: number): Value {
  const [rows = 1, tokens = 1] = x.shape;
  return g.transpose(g.reshape(x, [rows, tokens, heads, width]), [0, 2, 1, 3]);
}

/**
 * softmax(Q Kᵀ / √E + mask) V (Vaswani et al. 2017, eq. 1). Queries of a group share a key head by being laid under
 * one another, so keys and values are never repeated.
 * @param queries `[X, H, T, E]`
 * @param cache keys and values `[X, K, S, E]`
 * @param mask `[X, 1, 1, T, S]`
 * @returns `[X, T, H·E]`
 */
export function attend(queries: Value, { key, value }: LayerCache, mask: Value, { heads, keyValueHeads, headWidth }: HeadLayout): Value {
  const [x = 1, , t = 1] = queries.shape;
  const s: Dim = key.shape[2] ?? 1;
  const group = heads / keyValueHeads;
  const grouped = [x, keyValueHeads, multiplyDims(group, t)] as const;
  const q = g.reshape(queries, [...grouped, headWidth]); // [X, K, G·T, E]
  const scores = g.matMul(q, key, { transB: true, alpha: 1 / Math.sqrt(headWidth) }); // [X, K, G·T, S]
  const masked = g.add(g.reshape(scores, [x, keyValueHeads, group, t, s]), mask); // [X, K, G, T, S]
  const probabilities = g.reshape(g.softmax(masked), [...grouped, s]);
  const mixed = g.matMul(probabilities, value); // [X, K, G·T, E]
  const byToken = g.transpose(g.reshape(mixed, [x, heads, t, headWidth]), [0, 2, 1, 3]); // [X, T, H, E]
  return g.reshape(byToken, [x, t, heads * headWidth]);
}
