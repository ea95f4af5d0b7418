/**
 * A bidirectional LSTM (Hochreiter and Schmidhuber 1997) unrolled over its tokens, with the names and equations of
 * `torch.nn.LSTM`: (i, f, g, o) = W_ih x + b_ih + W_hh h + b_hh, c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c').
 */
import { must } from "../../core/base/errors.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { ParameterSpec } from "./adapter.ts";
import { asRow, type Named } from "./encoder-layers.ts";
import { uniformStart } from "./starts.ts";

export interface LstmSizes {
  readonly inFeatures: number;
  /** Width of one direction. */
  readonly hidden: number;
  readonly layers: number;
}

/** Endings of the names of the two directions: tokens in their order, and backwards. */
const DIRECTIONS = ["", "_reverse"] as const;

/** Weights `[4 · hidden, …]` and biases `[4 · hidden]` of each layer and direction, uniform within 1/√hidden. */
export function lstmSpecs(path: string, { inFeatures, hidden, layers }: LstmSizes): readonly ParameterSpec[] {
  return Array.from({ length: layers }, (_, layer) => DIRECTIONS.flatMap((direction) => {
    const spec = (name: string, shape: readonly number[]): ParameterSpec => ({ name: `${path}.${name}_l${layer}${direction}`, shape, start: uniformStart(shape, 1 / Math.sqrt(hidden)) });
    const width = layer === 0 ? inFeatures : 2 * hidden;
    return [spec("weight_ih", [4 * hidden, width]), spec("weight_hh", [4 * hidden, hidden]), spec("bias_ih", [4 * hidden]), spec("bias_hh", [4 * hidden])];
  })).flat();
}

/** One direction of one layer, whose tensors' names end in `suffix`: `[C, n, in]` → a state `[C, 1, hidden]` for each token. */
function direction(tensor: Named, suffix: string, x: Value): readonly Value[] {
  const [weight, bias] = [tensor(`weight_hh${suffix}`), g.add(tensor(`bias_ih${suffix}`), tensor(`bias_hh${suffix}`))];
  const [, n = 1] = x.shape;
  const hidden = Number(weight.shape[2]);
  const inputs = g.add(g.matMul(x, tensor(`weight_ih${suffix}`), { transB: true }), asRow(bias)); // [C, n, 4 · hidden]
  const tokens = g.split(inputs, 1, Array.from({ length: Number(n) }, () => 1));
  const states: Value[] = [];
  let cell: Value | undefined;
  for (const token of suffix.endsWith("_reverse") ? tokens.toReversed() : tokens) {
    const before = states.at(-1);
    const gates = before === undefined ? token : g.add(token, g.matMul(before, weight, { transB: true })); // [C, 1, 4 · hidden]
    const [i = gates, f = gates, candidate = gates, o = gates] = g.split(gates, 2, [hidden, hidden, hidden, hidden]);
    const added = g.mul(g.sigmoid(i), g.tanh(candidate));
    cell = cell === undefined ? added : g.add(g.mul(g.sigmoid(f), cell), added);
    states.push(g.mul(g.sigmoid(o), g.tanh(cell)));
  }
  return suffix.endsWith("_reverse") ? states.toReversed() : states;
}

/** `[C, n, in]` → `[C, n, 2 · hidden]`, the forward direction first; states before the first token are 0. */
export function lstm(tensor: Named, path: string, { x, layers }: { readonly x: Value; readonly layers: number }): Value {
  const own: Named = (name) => tensor(`${path}.${name}`);
  const join = (states: readonly Value[]): Value => g.concat([must(states[0], "a state"), ...states.slice(1)], 1);
  let out = x;
  for (let layer = 0; layer < layers; layer++) {
    const [forwards, backwards] = DIRECTIONS.map((ending) => join(direction(own, `_l${layer}${ending}`, out)));
    out = g.concat([must(forwards, "forwards"), must(backwards, "backwards")], 2);
  }
  return out;
}
