/** Activation functions by the names that Hugging Face configs use (transformers' ACT2FN). */
import { z } from "zod";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";

/** x · Φ(x) (Hendrycks & Gimpel 2016). */
const exactGelu = (x: Value): Value => g.gelu(x, "none");
/** Its approximation 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))); the names differ in how transformers computes it, not in what. */
const tanhGelu = (x: Value): Value => g.gelu(x, "tanh");

const ACTIVATIONS = {
  gelu: exactGelu,
  gelu_python: exactGelu,
  gelu_new: tanhGelu,
  gelu_fast: tanhGelu,
  gelu_accurate: tanhGelu,
  gelu_pytorch_tanh: tanhGelu,
  gelu_python_tanh: tanhGelu,
  quick_gelu: (x) => g.mul(x, g.sigmoid(g.mul(x, 1.702))),
  relu: g.relu,
  relu2: (x) => {
    const positive = g.relu(x);
    return g.mul(positive, positive);
  },
  silu: g.silu,
  swish: g.silu,
  sigmoid: g.sigmoid,
  tanh: g.tanh,
  linear: (x) => x,
} satisfies Record<string, (x: Value) => Value>;

type ActivationName = keyof typeof ACTIVATIONS;

/** A config's field that names an activation; one that fedtune does not have is refused. */
// Object.keys forgets that the keys are those of the record.
export const activationName = z.literal(Object.keys(ACTIVATIONS) as ActivationName[]);

/** Applies the activation of this name, element by element. */
export function activate(name: ActivationName, x: Value): Value {
  return ACTIVATIONS[name](x);
}
