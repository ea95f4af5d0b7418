/** Activation functions, element by element. */
import type { OpAttributes } from "../op-attributes.ts";
import * as g from "../operations.ts";
import type { Value } from "../value.ts";
import { mapReference, parts, unary, unaryRule } from "./elementwise.ts";
import { arity1 } from "./record.ts";
import type { OpRecord } from "./record.ts";

const logistic = (x: number): number => 1 / (1 + Math.exp(-x));

export const Sigmoid = unary("Sigmoid", logistic, unaryRule(({ dy, y }) => g.mul(dy, g.sub(y, g.mul(y, y)))));

/** d silu = s + y − y·s with s = sigmoid(x), y = x·s. */
export const Silu: OpRecord<OpAttributes["Silu"]> = {
  ...unary("Silu", (x) => x * logistic(x), unaryRule(({ dy, a, y }) => {
    const s = g.sigmoid(a);
    return g.mul(dy, g.add(s, g.sub(y, g.mul(y, s))));
  })),
  lower: (e, node) => void e.node("QuickGelu", node.inputs, node.outputs, { domain: "com.microsoft", attributes: { alpha: 1 } }),
};

export const Tanh = unary("Tanh", Math.tanh, unaryRule(({ dy, y }) => g.mul(dy, g.sub(g.scalar(y, 1), g.mul(y, y)))));

/** The slope is read from the result, so that the input need not be kept. */
export const Relu = unary("Relu", (x) => Math.max(x, 0), unaryRule(({ dy, y }) => g.where(g.lessOrEqual(y, 0), g.scalar(dy, 0), dy)));

/**
 * erf by 2/√π · exp(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (2n + 1)!! (Abramowitz and Stegun 1964, 7.1.6), whose terms all have one sign:
 * nothing cancels, so the error stays below 1e-14. From |x| = 6 on, erf is ±1 in float64.
 */
function errorFunction(x: number): number {
  if (Number.isNaN(x) || Math.abs(x) >= 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (x * x) / (n + 0.5);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** 2/√π · dy / exp(x²): the quotient goes to 0 where the exponential overflows. */
export const Erf = unary("Erf", errorFunction, unaryRule(({ dy, a }) => g.mul(g.div(dy, g.exp(g.mul(a, a))), 2 / Math.sqrt(Math.PI))), "inside");

const CUBIC = 0.044715;
const SLOPE = 2 * Math.sqrt(2 / Math.PI);

/** With u = x/√2: d gelu = ½ (1 + erf(u) + 2/√π · u / exp(u²)). */
function exactSlope(x: Value): Value {
  const u = g.mul(x, Math.SQRT1_2);
  const bell = g.mul(g.div(u, g.exp(g.mul(u, u))), 2 / Math.sqrt(Math.PI));
  return g.mul(g.add(g.add(g.erf(u), bell), 1), 0.5);
}

/**
 * ½ (1 + tanh(z/2)) = sigmoid(z), so y = x · s with s = sigmoid(z), z = x · p, p = k + k·c·x²:
 * d gelu = s + y · (1 − s) · dz with dz = k + 3·k·c·x² = 3p − 2k.
 */
function tanhSlope(x: Value, y: Value): Value {
  const p = g.add(g.mul(g.mul(x, x), SLOPE * CUBIC), SLOPE);
  const s = g.sigmoid(g.mul(x, p));
  const t = g.mul(y, g.sub(g.mul(p, 3), 2 * SLOPE));
  return g.add(s, g.sub(t, g.mul(t, s)));
}

export const Gelu: OpRecord<OpAttributes["Gelu"]> = {
  precision: "inside",
  rowwise: () => "all",
  infer: (inputs) => [arity1("Gelu", inputs)],
  gradient: (context) => {
    const { a, y, dy } = parts(context);
    return [g.mul(dy, context.attributes.approximate === "tanh" ? tanhSlope(a, y) : exactSlope(a))];
  },
  reference: (inputs, { approximate }, [out = []]) =>
    mapReference(inputs, out, (x = 0) => x * (approximate === "tanh" ? logistic(SLOPE * (x + CUBIC * x ** 3)) : 0.5 * (1 + errorFunction(x * Math.SQRT1_2)))),
  lower: (e, { inputs, outputs, attributes: { approximate } }) => void e.node("Gelu", inputs, outputs, { attributes: { approximate } }),
};
