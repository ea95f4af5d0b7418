import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { drawTensor } from "../../../test/support/tensors.ts";
import { openTiny, TINY_CONFIGS, writeTinyModel } from "../../../test/support/tiny-models.ts";
import { lossesOfMerged } from "../../../test/support/tiny-passes.ts";
import { temporaryFolder } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { elementCount, tensor } from "../../core/base/tensor.ts";
import { GraphBuilder } from "../../engine/graph/builder.ts";
import * as g from "../../engine/graph/operations.ts";
import { gradient } from "../../engine/passes/gradient.ts";
import { evaluateReference, toReference } from "../../engine/runtime/reference.ts";
import type { Site } from "../architectures/sites.ts";
import { bindAdapter, initialTensors } from "./all.ts";
import { adapterSchema } from "./settings.ts";

const root = temporaryFolder();
const PATH = "model.layers.0.self_attn.q_proj";
const [CLIENTS, ROWS, WIDTH, RANK, SCALING] = [2, 5, 16, 3, 7 / 3];
const adapter = bindAdapter(adapterSchema.parse({ method: "dora", r: RANK, lora_alpha: 7, lora_dropout: 0.5, target_modules: ["q_proj"], layers_to_transform: 0 }), openTiny(TINY_CONFIGS.qwen2));
const [A, B, M] = ["lora_A.weight", "lora_B.weight", "lora_magnitude_vector"].map((end) => `base_model.model.${PATH}.${end}`) as [string, string, string];
const SQUARES = must(adapter.frozen[0], "frozen").name;

const shapes = { x: [CLIENTS, ROWS, WIDTH], w: [WIDTH, WIDTH], bias: [WIDTH], [A]: [CLIENTS, RANK, WIDTH], [B]: [CLIENTS, WIDTH, RANK], [M]: [CLIENTS, WIDTH] };
const given = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, drawTensor(name, shape)]));
const W = must(given["w"], "w").data;
const squares = Float32Array.from({ length: WIDTH }, (_, o) => W.subarray(o * WIDTH, (o + 1) * WIDTH).reduce((sum, x) => sum + x * x, 0));
const mask = Uint8Array.from({ length: CLIENTS * ROWS * WIDTH }, (_, i) => (i * 7) % 3 > 0 ? 1 : 0);

/** Output `[C, N, out]` of the adapted module, and the gradient of its sum by A, B and m. */
function run({ dropped }: { readonly dropped: boolean }) {
  const builder = new GraphBuilder();
  const inputs = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, builder.input(name, "float32", shape)]));
  const input = (name: string) => must(inputs[name], name);
  const [x, w] = [input("x"), input("w")];
  const site: Site = { path: PATH, input: x, product: g.matMul(x, w, { transB: true }), bias: input("bias"), project: (other) => g.matMul(other, w, { transB: true }) };
  const frozen = builder.input(SQUARES, "float32", [WIDTH]);
  const kept = dropped ? builder.input("mask", "bool", shapes.x) : undefined;
  const hooks = adapter.attach({ parameter: input, frozen: () => frozen, dropout: (_, value) => (kept === undefined ? value : g.dropout(value, kept, 0.5)) });
  const output = must(hooks.linearOutput?.(site), "output");
  builder.output("y", output);
  const seed = builder.input("seed", "float32", output.shape);
  [A, B, M].forEach((name, i) => builder.output(`slope ${name}`, must(gradient(builder, { value: output, seed }, [input(A), input(B), input(M)])[i], name)));
  const feeds = new Map(Object.entries(given).map(([name, t]) => [name, toReference(t)]));
  feeds.set(SQUARES, toReference(tensor("float32", [WIDTH], squares)));
  feeds.set("seed", toReference(tensor("float32", [CLIENTS, ROWS, WIDTH], new Float32Array(CLIENTS * ROWS * WIDTH).fill(1))));
  if (dropped) feeds.set("mask", toReference(tensor("bool", shapes.x, mask)));
  const out = evaluateReference(builder.finish(), feeds);
  return (name: string) => must(out.get(name), name).data;
}

const at = (name: string, ...index: readonly number[]): number => {
  const { shape, data } = must(given[name], name);
  return Number(data[index.reduce((sum, i, axis) => sum * (shape[axis] ?? 1) + i, 0)]);
};
/** s · B A of one client and ‖W + s · B A‖ of one output. */
const change = (c: number, o: number, i: number): number => SCALING * [0, 1, 2].reduce((sum, k) => sum + at(B, c, o, k) * at(A, c, k, i), 0);
const norm = (c: number, o: number): number => Math.sqrt(Array.from({ length: WIDTH }, (_, i) => (at("w", o, i) + change(c, o, i)) ** 2).reduce((a, b) => a + b, 0));
const cells = (): [number, number, number][] => Array.from({ length: CLIENTS * ROWS * WIDTH }, (_, i) => [Math.floor(i / (ROWS * WIDTH)), Math.floor(i / WIDTH) % ROWS, i % WIDTH]);
const sum = (f: (i: number) => number): number => Array.from({ length: WIDTH }, (_, i) => f(i)).reduce((a, b) => a + b, 0);

describe("DoRA", () => {
  test("gives m (W + s B A) / ‖W + s B A‖ of the input, with the bias as it is, for each client", () => {
    const expected = cells().map(([c, n, o]) => (at(M, c, o) / norm(c, o)) * sum((i) => (at("w", o, i) + change(c, o, i)) * at("x", c, n, i)) + at("bias", o));
    expect(relativeError(run({ dropped: false })("y"), expected)).toBeLessThan(1e-6);
  });

  test("under dropout rescales the base's output for what dropout leaves of the input, as PEFT", () => {
    const left = (c: number, n: number, i: number): number => 2 * at("x", c, n, i) * (mask[(c * ROWS + n) * WIDTH + i] ?? 0);
    const expected = cells().map(([c, n, o]) => {
      const scale = at(M, c, o) / norm(c, o);
      return sum((i) => at("w", o, i) * at("x", c, n, i)) + at("bias", o) + (scale - 1) * sum((i) => at("w", o, i) * left(c, n, i)) + scale * sum((i) => change(c, o, i) * left(c, n, i));
    });
    expect(relativeError(run({ dropped: true })("y"), expected)).toBeLessThan(1e-6);
  });

  test("learns with the norm held constant", () => {
    const slopes = run({ dropped: false });
    const bySum = (c: number, i: number): number => Array.from({ length: ROWS }, (_, n) => at("x", c, n, i)).reduce((a, b) => a + b, 0);
    const scale = (c: number, o: number): number => at(M, c, o) / norm(c, o);
    const each = <T>(sizes: readonly number[], f: (...index: number[]) => T): T[] => Array.from({ length: elementCount(sizes) }, (_, flat) => f(...sizes.map((size, axis) => Math.floor(flat / elementCount(sizes.slice(axis + 1))) % size)));
    expect(relativeError(slopes(`slope ${A}`), each(must(shapes[A], "A"), (c = 0, k = 0, i = 0) => SCALING * sum((o) => scale(c, o) * at(B, c, o, k)) * bySum(c, i)))).toBeLessThan(1e-6);
    expect(relativeError(slopes(`slope ${B}`), each(must(shapes[B], "B"), (c = 0, o = 0, k = 0) => SCALING * scale(c, o) * sum((i) => at(A, c, k, i) * bySum(c, i))))).toBeLessThan(1e-6);
    expect(relativeError(slopes(`slope ${M}`), each(must(shapes[M], "m"), (c = 0, o = 0) => sum((i) => (at("w", o, i) + change(c, o, i)) * bySum(c, i)) / norm(c, o)))).toBeLessThan(1e-6);
  });

  test("starts from the length of each output's weights, in either layout", () => {
    for (const [model, target, transposed] of [[openTiny(TINY_CONFIGS.qwen2), "up_proj", false], [openTiny(TINY_CONFIGS.gpt2), "c_fc", true]] as const) {
      const { parameters, frozen } = bindAdapter(adapterSchema.parse({ method: "dora", target_modules: [target], layers_to_transform: 0 }), model);
      const none = (): never => { throw new Error("not asked for"); };
      const drawn = initialTensors([...parameters.slice(2), ...frozen], 1, { base: () => Float32Array.from({ length: 16 * 21 }, (_, i) => i / 100), tokenize: none });
      const lengths = Array.from({ length: 21 }, (_, o) => Math.sqrt(sum((i) => ((transposed ? i * 21 + o : o * 16 + i) / 100) ** 2)));
      expect(relativeError(must([...drawn.values()][0], "m").data, lengths)).toBeLessThan(1e-6);
      expect(relativeError(must([...drawn.values()][1], "squares").data, lengths.map((x) => x * x))).toBeLessThan(1e-6);
    }
  });

  test.each([["qwen2", "all-linear"], ["gpt2", ["c_attn", "c_proj", "lm_head"]], ["llama", ["q_proj", "lm_head"]]] as const)("merged into %s gives what it gives beside it", async (name, target_modules) => {
    const folder = join(root, name);
    writeTinyModel(folder, TINY_CONFIGS[name]);
    const { adapted, base, merged } = await lossesOfMerged(folder, { method: "dora", r: 3, lora_alpha: 4, target_modules }, { out: join(root, `${name}-merged`), lengths: [9, 13] });
    expect(relativeError(merged, adapted)).toBeLessThan(2e-6);
    expect(relativeError(base, adapted)).toBeGreaterThan(1e-2);
  });
});
