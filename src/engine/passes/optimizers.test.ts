import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { drawTensor } from "../../../test/support/tensors.ts";
import { must } from "../../core/base/errors.ts";
import { tensor, zeros, type Tensor } from "../../core/base/tensor.ts";
import { openSession } from "../runtime/onnx-session.ts";
import { evaluateReference, toReference } from "../runtime/reference.ts";
import { optimizerGraph, optimizerState, type OptimizerRule } from "./optimizers.ts";

const ADAMW: OptimizerRule & { name: "adamw" } = { name: "adamw", betas: [0.8, 0.95], eps: 1e-3, weight_decay: 0.07 };
const SGD: OptimizerRule & { name: "sgd" } = { name: "sgd", momentum: 0.6, weight_decay: 0.03 };
const PLAIN: OptimizerRule & { name: "sgd" } = { name: "sgd", momentum: 0, weight_decay: 0 };
const WIDTH = 5;

/** One client's numbers in a step. */
interface ClientStep {
  readonly gradients: readonly number[];
  readonly tokens: number;
  readonly loss: number;
  readonly learningRate: number;
}

interface State {
  readonly parameters: readonly number[];
  readonly moments: readonly (readonly number[])[];
}

/** One step of one client in float64, written from the papers and not from the graph. */
function byHand(rule: OptimizerRule, maxNorm: number, { parameters, moments }: State, { gradients, tokens, learningRate }: ClientStep, t: number): State {
  const mean = gradients.map((g) => g / tokens);
  const norm = Math.hypot(...mean);
  const scale = maxNorm > 0 ? Math.min(1, maxNorm / (norm + 1e-6)) : 1;
  const at = (moment: number, i: number): number => moments[moment]?.[i] ?? 0;
  if (rule.name === "sgd") {
    const buffer = parameters.map((p, i) => rule.momentum * at(0, i) + (mean[i] ?? 0) * scale + rule.weight_decay * p);
    return { parameters: parameters.map((p, i) => p - learningRate * (buffer[i] ?? 0)), moments: [buffer] };
  }
  const [b1, b2] = rule.betas;
  const m = parameters.map((_, i) => b1 * at(0, i) + (1 - b1) * (mean[i] ?? 0) * scale);
  const v = parameters.map((_, i) => b2 * at(1, i) + (1 - b2) * ((mean[i] ?? 0) * scale) ** 2);
  const next = parameters.map((p, i) => {
    const [mHat, vHat] = [(m[i] ?? 0) / (1 - b1 ** t), (v[i] ?? 0) / (1 - b2 ** t)];
    return p * (1 - learningRate * rule.weight_decay) - (learningRate * mHat) / (Math.sqrt(vHat) + rule.eps);
  });
  return { parameters: next, moments: [m, v] };
}

const matrix = (rows: readonly (readonly number[])[]): Tensor => tensor("float32", [rows.length, WIDTH], Float32Array.from(rows.flat()));
const column = (values: readonly number[]): Tensor => tensor("float32", [values.length, 1], Float32Array.from(values));
const rowOf = (t: Tensor | undefined, client: number): number[] => Array.from(must(t, "output").data, Number).slice(client * WIDTH, (client + 1) * WIDTH);

type Results = Readonly<Record<string, Tensor>>;

function feedsOf(rule: OptimizerRule, previous: Results, clients: readonly ClientStep[], t: number): Results {
  const correction = (beta: number): Tensor => column(clients.map(() => 1 - beta ** t));
  return {
    parameters: must(previous["parameters_out"], "parameters"), gradients: matrix(clients.map((c) => c.gradients)),
    ...Object.fromEntries(optimizerState(rule).map((name) => [name, previous[`${name}_out`] ?? zeros("float32", [clients.length, WIDTH])])),
    tokens: column(clients.map((c) => c.tokens)), loss: column(clients.map((c) => c.loss)), learning_rate: column(clients.map((c) => c.learningRate)),
    ...(rule.name === "adamw" ? { correction1: correction(rule.betas[0]), correction2: correction(rule.betas[1]) } : {}),
  };
}

/** Takes the steps one after another by onnxruntime; the results of each. */
async function train(rule: OptimizerRule, maxNorm: number, start: readonly (readonly number[])[], steps: readonly (readonly ClientStep[])[]): Promise<Results[]> {
  using session = await openSession(optimizerGraph(rule, maxNorm), { threads: 1 });
  const results: Results[] = [];
  let previous: Results = { parameters_out: matrix(start) };
  for (const [i, clients] of steps.entries()) results.push((previous = await session.run(feedsOf(rule, previous, clients, i + 1))));
  return results;
}

const draw = (name: string, scale = 1): number[] => Array.from(drawTensor(name, [WIDTH]).data, (x) => x * scale);
/** Steps of a client whose tokens, losses and learning rates all differ. */
const steps = (client: string, count: number, scale = 1): ClientStep[] =>
  Array.from({ length: count }, (_, i) => ({ gradients: draw(`${client} gradient ${i}`, scale * (i + 2)), tokens: 3 + 2 * i, loss: 7.5 + i, learningRate: 0.3 / (i + 2) }));
const sideBySide = (...clients: readonly ClientStep[][]): ClientStep[][] => must(clients[0], "client").map((_, i) => clients.map((c) => must(c[i], "step")));

describe.each<[string, OptimizerRule, number]>([
  ["AdamW with weight decay, clipped", ADAMW, 0.5],
  ["AdamW with PyTorch's settings, not clipped", { name: "adamw", betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0 }, 0],
  ["SGD with momentum and weight decay, clipped", SGD, 0.5],
  ["plain SGD, not clipped", PLAIN, 0],
])("%s", (_name, rule, maxNorm) => {
  const clients = [steps("first", 5), steps("second", 5, 0.2)];
  const start = [draw("first start"), draw("second start")];
  const expected = clients.map((all, c) => all.reduce<State[]>((states, step, i) => [...states, byHand(rule, maxNorm, states.at(-1) ?? { parameters: must(start[c], "start"), moments: [] }, step, i + 1)], []));

  test("takes five steps of two clients as the formulas in float64 do, moments included", async () => {
    const results = await train(rule, maxNorm, start, sideBySide(...clients));
    results.forEach((result, i) => {
      expected.forEach((states, client) => {
        const state = must(states[i], "state");
        expect(relativeError(rowOf(result["parameters_out"], client), state.parameters)).toBeLessThan(1e-5);
        optimizerState(rule).forEach((name, m) => expect(relativeError(rowOf(result[`${name}_out`], client), state.moments[m] ?? [])).toBeLessThan(1e-5));
      });
      expect(result["finite"]?.data).toEqual(Float32Array.of(1, 1));
    });
  });

  test("is the formulas themselves in the float64 reference", () => {
    const graph = optimizerGraph(rule, maxNorm);
    const feeds = feedsOf(rule, { parameters_out: matrix(start) }, must(sideBySide(...clients)[0], "step"), 1);
    const results = evaluateReference(graph, new Map(Object.entries(feeds).map(([name, t]) => [name, toReference(t)])));
    const first = expected.flatMap((states) => states[0]?.parameters ?? []);
    expect(relativeError(must(results.get("parameters_out"), "parameters").data, first)).toBeLessThan(1e-6);
  });

  test("gives a client beside others the same bytes as alone", async () => {
    const together = await train(rule, maxNorm, start, sideBySide(...clients));
    const alone = await train(rule, maxNorm, start.slice(1), sideBySide(...clients.slice(1)));
    for (const name of ["parameters", ...optimizerState(rule)]) expect(rowOf(together[4]?.[`${name}_out`], 1)).toEqual(rowOf(alone[4]?.[`${name}_out`], 0));
  });
});

describe("a step that is not finite", () => {
  const good = steps("good", 3);
  const bad = (change: Partial<ClientStep>): ClientStep[] => steps("bad", 3).map((step, i) => (i === 1 ? { ...step, ...change } : step));
  const poison = draw("poison");

  test.each<[string, Partial<ClientStep>]>([
    ["NaN in one gradient", { gradients: poison.with(3, Number.NaN) }],
    ["an infinite gradient", { gradients: poison.with(0, -Infinity) }],
    ["a gradient whose square is beyond float32", { gradients: poison.with(2, 1e25) }],
    ["a loss that is NaN", { loss: Number.NaN }],
    ["an infinite loss", { loss: Infinity }],
    ["no labelled token", { tokens: 0, loss: 0, gradients: poison.map(() => 0) }],
  ])("is skipped by its client alone: %s", async (_what, change) => {
    const start = [draw("good start"), draw("bad start")];
    const together = await train(ADAMW, 0.5, start, sideBySide(good, bad(change)));
    const alone = await train(ADAMW, 0.5, start.slice(0, 1), sideBySide(good));
    expect(together.map((r) => [...must(r["finite"], "finite").data])).toEqual([[1, 1], [1, 0], [1, 1]]);
    for (const name of ["parameters_out", "exp_avg_out", "exp_avg_sq_out"]) {
      expect(rowOf(together[2]?.[name], 0)).toEqual(rowOf(alone[2]?.[name], 0)); // The neighbour sees nothing of it.
      expect(rowOf(together[1]?.[name], 1)).toEqual(rowOf(together[0]?.[name], 1)); // The client stays where it was, …
      expect(rowOf(together[2]?.[name], 1).every(Number.isFinite)).toBe(true); // … and goes on from there.
      expect(rowOf(together[2]?.[name], 1)).not.toEqual(rowOf(together[1]?.[name], 1));
    }
  });
});

describe("clipping", () => {
  /** What one step of plain SGD with rate 1 takes off the parameters: the clipped gradient. */
  async function clipped(maxNorm: number, clients: readonly (readonly number[])[], tokens = 1): Promise<{ readonly taken: number[][]; readonly norms: number[] }> {
    const start = clients.map(() => [0, 0, 0, 0, 0]);
    const [result] = await train(PLAIN, maxNorm, start, [clients.map((gradients) => ({ gradients, tokens, loss: 2, learningRate: 1 }))]);
    return { taken: clients.map((_, c) => rowOf(result?.["parameters_out"], c).map((x) => 0 - x)), norms: Array.from(must(result?.["gradient_norm"], "norm").data, Number) };
  }
  const FIVE = [3, 0, -4, 0, 0]; // Norm 5

  test("leaves a gradient at exactly the norm as it is, to PyTorch's epsilon", async () => {
    const { taken, norms } = await clipped(5, [FIVE]);
    expect(norms).toEqual([5]);
    expect(relativeError(must(taken[0], "taken"), FIVE.map((g) => (g * 5) / (5 + 1e-6)))).toBeLessThan(1e-7);
  });

  test("changes no bit of a gradient below the norm", async () => {
    expect((await clipped(5.001, [FIVE])).taken).toEqual((await clipped(0, [FIVE])).taken);
  });

  test("brings a longer gradient down to the norm, each client by its own, and reports the norms before", async () => {
    const { taken, norms } = await clipped(2.5, [FIVE, FIVE.map((g) => g / 10), FIVE.map((g) => g * 8)]);
    expect(norms.map((n) => Math.round(n * 1e5) / 1e5)).toEqual([5, 0.5, 40]);
    const lengths = taken.map((row) => Math.hypot(...row));
    expect(relativeError(lengths, [2.5, 0.5, 2.5])).toBeLessThan(1e-6);
    expect(relativeError(must(taken[2], "third"), FIVE.map((g) => g / 2))).toBeLessThan(1e-6);
  });

  test("measures the mean over the labelled tokens, not their sum", async () => {
    const { taken, norms } = await clipped(2.5, [FIVE], 4);
    expect(norms).toEqual([1.25]);
    expect(taken).toEqual([FIVE.map((g) => g / 4)]);
  });
});

test("the state of an optimiser is named as PyTorch names it", () => {
  expect(optimizerState(ADAMW)).toEqual(["exp_avg", "exp_avg_sq"]);
  expect(optimizerState(SGD)).toEqual(["momentum_buffer"]);
});
