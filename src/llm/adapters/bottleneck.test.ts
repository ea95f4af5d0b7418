import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { TINIEST_GPT2, TINIEST_LLAMA, tensorGradients } from "../../../test/support/tiny-gradients.ts";
import { openTiny, TINY_CONFIGS, writeTinyModel } from "../../../test/support/tiny-models.ts";
import { lossesOfPacks, logitsOfCache } from "../../../test/support/tiny-passes.ts";
import { NO_SOURCES, randomAdapter, temporaryFolder } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { randomKey, normals } from "../../core/base/random.ts";
import { tensor } from "../../core/base/tensor.ts";
import { GraphBuilder } from "../../engine/graph/builder.ts";
import type { ReferenceTensor } from "../../engine/graph/ops/record.ts";
import type { Value } from "../../engine/graph/value.ts";
import { evaluateReference, toReference } from "../../engine/runtime/reference.ts";
import type { SublayerKind } from "../architectures/sites.ts";
import type { BoundAdapter } from "./adapter.ts";
import { bindAdapter, initialTensors } from "./all.ts";
import { exportMerged } from "./merge.ts";
import { adapterSchema } from "./settings.ts";

const root = temporaryFolder();
const model = openTiny(TINY_CONFIGS.llama);
const bind = (settings: Readonly<Record<string, unknown>>): BoundAdapter => bindAdapter(adapterSchema.parse({ method: "bottleneck", ...settings }), model);
const shapes = (settings: Readonly<Record<string, unknown>>) => bind(settings).parameters.map(({ name, shape }) => [name, shape]);

const N = 3;
const D = 24;
const HIDDEN = tensor("float32", [2, N, D], Float32Array.from(normals(randomKey(1, "hidden"), [], 2 * N * D), (x) => 2 * x));

/** What the adapter makes of a sublayer's output for two clients, and each client's tensors. */
function applied(settings: Readonly<Record<string, unknown>>, layer: number, kind: SublayerKind) {
  const adapter = bind(settings);
  const clients = [randomAdapter(adapter.parameters, 1), randomAdapter(adapter.parameters, 2)];
  const builder = new GraphBuilder();
  const h = builder.input("h", "float32", HIDDEN.shape);
  const feeds = new Map<string, ReferenceTensor>([["h", toReference(HIDDEN)]]);
  const parameters = new Map(adapter.parameters.map(({ name, shape }): [string, Value] => {
    const data = Float64Array.from(clients.flatMap((tensors) => [...must(tensors.get(name), name).data]));
    feeds.set(name, { dtype: "float32", shape: [2, ...shape], data });
    return [name, builder.input(name, "float32", [2, ...shape])];
  }));
  const none = (): never => { throw new Error("expected parameters alone"); };
  const hooks = adapter.attach({ parameter: (name) => must(parameters.get(name), name), frozen: none, dropout: none });
  builder.output("out", must(hooks.sublayer?.(layer, kind, h), "hook"));
  return { out: must(evaluateReference(builder.finish(), feeds).get("out"), "out").data, clients };
}

const FUNCTIONS: Readonly<Record<string, (x: number) => number>> = {
  relu: (x) => Math.max(0, x),
  silu: (x) => x / (1 + Math.exp(-x)),
  tanh: Math.tanh,
  // x · Φ(x), Φ by the midpoint rule over 4000 pieces from −12.
  gelu: (x) => x * Array.from({ length: 4000 }, (_, i) => Math.exp(-((-12 + ((x + 12) * (i + 0.5)) / 4000) ** 2) / 2)).reduce((a, b) => a + b, 0) * ((x + 12) / 4000) / Math.sqrt(2 * Math.PI),
};

describe("a bottleneck adapter", () => {
  test.each(Object.keys(FUNCTIONS))("makes h + W_up f(W_down h + b_down) + b_up of a sublayer's output, for each client: %s", (activation) => {
    const { out, clients } = applied({ placement: "houlsby", size: 5, activation }, 1, "attention");
    const f = must(FUNCTIONS[activation], activation);
    const expected = clients.flatMap((tensors, c) => {
      const [wDown, bDown, wUp, bUp] = ["down.weight", "down.bias", "up.weight", "up.bias"].map((name) => must(tensors.get(`layers.1.attention.${name}`), name).data);
      return Array.from({ length: N }, (_, n) => {
        const h = HIDDEN.data.slice((c * N + n) * D, (c * N + n + 1) * D);
        const dot = (w: Float32Array | undefined, row: number, x: ArrayLike<number>): number => Array.from(x).reduce((sum, value, i) => sum + value * (w?.[row * x.length + i] ?? Number.NaN), 0);
        const low = Array.from({ length: 5 }, (_, m) => f(dot(wDown, m, h) + (bDown?.[m] ?? Number.NaN)));
        return Array.from(h, (x, d) => x + dot(wUp, d, low) + (bUp?.[d] ?? Number.NaN));
      }).flat();
    });
    expect(relativeError(out, expected)).toBeLessThan(activation === "gelu" ? 1e-5 : 1e-12);
  });

  test("stands after both sublayers as Houlsby places it, after the feed-forward alone as Pfeiffer does", () => {
    const at = (layer: number, kind: string): unknown[] => [
      [`layers.${layer}.${kind}.down.weight`, [5, 24]], [`layers.${layer}.${kind}.down.bias`, [5]], [`layers.${layer}.${kind}.up.weight`, [24, 5]], [`layers.${layer}.${kind}.up.bias`, [24]],
    ];
    expect(shapes({ placement: "houlsby", size: 5 })).toEqual([0, 1].flatMap((i) => [...at(i, "attention"), ...at(i, "feed_forward")]));
    expect(shapes({ size: 5 })).toEqual([0, 1].flatMap((i) => at(i, "feed_forward")));
    expect(applied({ placement: "pfeiffer", size: 5 }, 0, "attention").out).toEqual(Float64Array.from(HIDDEN.data));
  });

  test("is as wide as the model by reduction_factor, at least 1, unless size says otherwise", () => {
    const width = (settings: Readonly<Record<string, unknown>>) => bind(settings).parameters[1]?.shape;
    expect([width({}), width({ reduction_factor: 5 }), width({ reduction_factor: 100 }), width({ reduction_factor: 2, size: 7 })]).toEqual([[1], [4], [1], [7]]);
  });

  test("starts with biases 0 and weights normal within two deviations of 0.01, so that it begins near the base", () => {
    const tensors = initialTensors(bind({ placement: "houlsby", size: 24 }).parameters, 4, NO_SOURCES);
    const weights = [...tensors].filter(([name]) => name.endsWith("weight")).map(([, t]) => t.data);
    for (const [name, t] of tensors) if (name.endsWith("bias")) expect(t.data.every((x) => x === 0)).toBe(true);
    for (const data of weights) {
      expect(data.reduce((most, x) => Math.max(most, Math.abs(x)), 0)).toBeLessThanOrEqual(0.02);
      expect(data.reduce((most, x) => Math.max(most, Math.abs(x)), 0)).toBeGreaterThan(0.018);
    }
    // A normal number cut at two deviations has 0.7737 of the variance.
    const all = weights.flatMap((data) => [...data]);
    expect(Math.abs(all.reduce((sum, x) => sum + x * x, 0) / all.length / 1e-4 / 0.7737 - 1)).toBeLessThan(0.06);
    expect(new Set(weights.map((data) => data[0])).size).toBe(weights.length);
  });

  test.each([["llama", TINIEST_LLAMA, { activation: "tanh" }], ["gpt2", TINIEST_GPT2, { activation: "gelu" }]] as const)("has the gradients of central differences in float64: %s", (_, config, settings) => {
    const gradients = tensorGradients(config, { method: "bottleneck", placement: "houlsby", size: 3, ...settings });
    expect(gradients).toHaveLength(8);
    for (const { name, value, expected } of gradients) {
      expect([name, relativeError(value, expected) < 1e-6]).toEqual([name, true]);
      expect([name, expected.some((x) => Math.abs(x) > 1e-3)]).toEqual([name, true]);
    }
  });

  test.each(["llama", "gemma2", "bloom"] as const)("gives in packs what it gives apart, and with a cache what it gives without: %s", async (name) => {
    const folder = join(root, name);
    writeTinyModel(folder, TINY_CONFIGS[name]);
    const settings = { method: "bottleneck", placement: "houlsby", size: 5 };
    const { packed, apart } = await lossesOfPacks(folder, settings, [9, 4, 6]);
    expect(relativeError(packed, apart)).toBeLessThan(1e-5);
    const { cached, full } = await logitsOfCache(folder, settings, { ids: [3, 9, 4, 20, 7, 11, 2], first: 3 });
    expect(relativeError(cached, full)).toBeLessThan(1e-5);
  });

  test("is not merged, and says why", () => {
    const adapter = bind({ size: 5 });
    writeTinyModel(join(root, "unmerged"), TINY_CONFIGS.llama);
    expect(() => exportMerged({ modelFolder: join(root, "unmerged"), out: join(root, "merged") }, model, adapter, randomAdapter(adapter.parameters))).toThrow("expected an adapter that can be folded into weights, got a bottleneck adapter, which is a layer of its own.");
  });
});
