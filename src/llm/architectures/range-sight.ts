/** Sight by numbers: each query has one, and each key says from which number to which it is seen. Texts in one row, and their continuations, are told apart by it. */
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import { isBehind, maskFrom, type Sight } from "./attention.ts";

export interface RangeSightInputs {
  /** int32 `[X, T]` each: the number of a query, and its position. */
  readonly numbers: Value;
  readonly queryPositions: Value;
  /** int32 `[X, S]` each: a key is seen by queries of the numbers from `first` to `last` that are not before its position. */
  readonly first: Value;
  readonly last: Value;
  readonly keyPositions: Value;
}

/** Sight where a query sees a key if its number lies in the key's range and its position is not before the key's. */
export function rangeSight({ numbers, queryPositions, first, last, keyPositions }: RangeSightInputs): Sight {
  const [x = 1, t = 1] = numbers.shape;
  const query = g.reshape(numbers, [x, t, 1]);
  const byKey = (value: Value): Value => g.reshape(value, [x, 1, value.shape[1] ?? 1]);
  const within = (): Value => g.and(g.lessOrEqual(byKey(first), query), g.lessOrEqual(query, byKey(last)));
  return { queryPositions, keyPositions, mask: (window) => maskFrom(g.and(within(), isBehind(queryPositions, keyPositions, window))) };
}
