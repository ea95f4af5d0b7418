/**
 * Optimisers as graphs over flat parameters `[C, P]`: one row a client, so that clipping, the loss's denominator and
 * the skipping of a step that is not finite are each client's own.
 *
 * Inputs: parameters, gradients (summed over tokens), state tensors, all `[C, P]`; and per client `[C, 1]`: tokens (the
 * labelled tokens that the sum is over), loss (summed), learning_rate, correction1 and correction2 (1 − βᵗ, AdamW only).
 * Outputs: parameters, the state, gradient_norm `[C, 1]` before clipping, and finite `[C, 1]` (1 where the step was taken).
 */
import { GraphBuilder } from "../graph/builder.ts";
import * as g from "../graph/operations.ts";
import type { Graph } from "../graph/types.ts";
import type { Value } from "../graph/value.ts";

export type OptimizerRule =
  | { readonly name: "adamw"; readonly betas: readonly [number, number]; readonly eps: number; readonly weight_decay: number }
  | { readonly name: "sgd"; readonly momentum: number; readonly weight_decay: number };

/** The names of the state tensors of a rule, each `[C, P]` and zero at the start. */
export function optimizerState(rule: OptimizerRule): readonly string[] {
  return rule.name === "adamw" ? ["exp_avg", "exp_avg_sq"] : ["momentum_buffer"];
}

interface Step {
  readonly parameters: Value;
  readonly gradients: Value;
  readonly state: readonly Value[];
  readonly learningRate: Value;
  readonly perClient: (name: string) => Value;
}

interface Updated {
  readonly parameters: Value;
  readonly state: readonly Value[];
}

/** Loshchilov and Hutter 2019, algorithm 2, in PyTorch's order of operations. */
function adamw(rule: OptimizerRule & { name: "adamw" }, { parameters, gradients, state: [m0 = gradients, v0 = gradients], learningRate, perClient }: Step): Updated {
  const [beta1, beta2] = rule.betas;
  const decayed = rule.weight_decay === 0 ? parameters : g.sub(parameters, g.mul(parameters, g.mul(learningRate, rule.weight_decay)));
  const m = g.add(g.mul(m0, beta1), g.mul(gradients, 1 - beta1));
  const v = g.add(g.mul(v0, beta2), g.mul(g.mul(gradients, gradients), 1 - beta2));
  const denominator = g.add(g.div(g.sqrt(v), g.sqrt(perClient("correction2"))), rule.eps);
  const update = g.div(g.mul(m, g.div(learningRate, perClient("correction1"))), denominator);
  return { parameters: g.sub(decayed, update), state: [m, v] };
}

/** Momentum as PyTorch has it: b ← μ b + g, θ ← θ − η b. */
function sgd(rule: OptimizerRule & { name: "sgd" }, { parameters, gradients, state: [buffer0 = gradients], learningRate }: Step): Updated {
  const gradient = rule.weight_decay === 0 ? gradients : g.add(gradients, g.mul(parameters, rule.weight_decay));
  const buffer = g.add(g.mul(buffer0, rule.momentum), gradient);
  return { parameters: g.sub(parameters, g.mul(buffer, learningRate)), state: [buffer] };
}

/** Added to the norm before dividing by it, as PyTorch's clip_grad_norm_ does. */
const CLIP_EPSILON = 1e-6;

/** The graph of one optimiser step. `maxGradNorm` 0: no clipping. */
export function optimizerGraph(rule: OptimizerRule, maxGradNorm: number): Graph {
  const builder = new GraphBuilder();
  const flat = (name: string): Value => builder.input(name, "float32", ["C", "P"]);
  const perClient = (name: string): Value => builder.input(name, "float32", ["C", 1]);
  const parameters = flat("parameters");
  const mean = g.div(flat("gradients"), perClient("tokens"));
  const names = optimizerState(rule);
  const state = names.map(flat);

  const norm = g.sqrt(g.reduceSum(g.mul(mean, mean), [1])); // [C, 1]
  const finite = g.and(g.isFinite(norm), g.isFinite(perClient("loss")));
  const gradients = maxGradNorm === 0 ? mean : g.mul(mean, g.min(g.div(builder.scalar(maxGradNorm), g.add(norm, CLIP_EPSILON)), 1));
  const step: Step = { parameters, gradients, state, learningRate: perClient("learning_rate"), perClient };
  const updated = rule.name === "adamw" ? adamw(rule, step) : sgd(rule, step);

  builder.output("parameters_out", g.where(finite, updated.parameters, parameters));
  names.forEach((name, i) => builder.output(`${name}_out`, g.where(finite, updated.state[i] ?? parameters, state[i] ?? parameters)));
  builder.output("gradient_norm", norm);
  builder.output("finite", g.cast(finite, "float32"));
  return builder.finish();
}
