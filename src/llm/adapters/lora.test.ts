import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { TINY_CONFIG } from "../../../test/support/tiny-llama.ts";
import { mergeRuleOf, NO_SOURCES } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { llama } from "../architectures/llama.ts";
import { bindAdapter, initialTensors } from "./all.ts";
import { adapterSchema } from "./settings.ts";

const model = llama.open(TINY_CONFIG, "test");
const bind = (settings: Readonly<Record<string, unknown>>) => bindAdapter(adapterSchema.parse(settings), model);
const A = "base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight";
const B = "base_model.model.model.layers.0.self_attn.k_proj.lora_B.weight";

describe("LoRA", () => {
  test("has an A [r, in] and a B [out, r] for each module, by PEFT's names", () => {
    const { parameters } = bind({ r: 5, target_modules: ["k_proj", "down_proj"] });
    expect(parameters.slice(0, 4).map(({ name, shape }) => [name, shape])).toEqual([
      [A, [5, 24]], [B, [8, 5]],
      ["base_model.model.model.layers.0.mlp.down_proj.lora_A.weight", [5, 35]], ["base_model.model.model.layers.0.mlp.down_proj.lora_B.weight", [24, 5]],
    ]);
    expect(parameters).toHaveLength(8);
  });

  test("takes rank and alpha by module, and declares each pair with its scaling", () => {
    const { factorPairs, parameters } = bind({ r: 5, lora_alpha: 10, target_modules: ["k_proj", "v_proj"], rank_pattern: { v_proj: 3 }, alpha_pattern: { "0.*k_proj": 7 } });
    expect(factorPairs.map(({ scaling }) => Number(scaling.toFixed(9)))).toEqual([7 / 5, Number((10 / 3).toFixed(9)), 10 / 5, Number((10 / 3).toFixed(9))]);
    expect(factorPairs[0]).toMatchObject({ a: A, b: B });
    expect(parameters.map(({ shape }) => shape)).toEqual([[5, 24], [8, 5], [3, 24], [8, 3], [5, 24], [8, 5], [3, 24], [8, 3]]);
  });

  test("scales by alpha over the root of the rank with use_rslora", () => {
    expect(bind({ r: 9, lora_alpha: 6, use_rslora: true, target_modules: ["k_proj"] }).factorPairs[0]?.scaling).toBe(2);
  });

  test("merges into a weight as scaling · B A, and into none where it is not attached", () => {
    const merge = mergeRuleOf(bind({ r: 2, lora_alpha: 3, target_modules: ["k_proj"] }));
    const base = Float32Array.from({ length: 8 * 24 }, (_, i) => 7 - i / 4);
    const values = (name: string): Float32Array => Float32Array.from({ length: name === A ? 48 : 16 }, (_, i) => (name === A ? i - 20 : 3 - i));
    const [a, b] = [values(A), values(B)];
    const merged = must(merge({ name: "model.layers.0.self_attn.k_proj.weight", shape: [8, 24], base, values }), "merged");
    const expected = Array.from({ length: 8 * 24 }, (_, at) => {
      const [o, i] = [Math.floor(at / 24), at % 24];
      return (base[at] ?? 0) + 1.5 * ((b[2 * o] ?? 0) * (a[i] ?? 0) + (b[2 * o + 1] ?? 0) * (a[24 + i] ?? 0));
    });
    expect(relativeError(merged, expected)).toBeLessThan(1e-12);
    expect(merge({ name: "model.layers.0.self_attn.q_proj.weight", shape: [24, 24], base, values })).toBeUndefined();
  });

  test("says whether the output embedding is adapted", () => {
    expect(bind({ target_modules: "all-linear" }).changesHead).toBe(false);
    expect(bind({ target_modules: ["q_proj", "lm_head"] }).changesHead).toBe(true);
  });

  test("starts with B = 0 and A uniform within 1/√in, from the seed and the tensor's name alone", () => {
    const adapter = bind({ r: 16, target_modules: ["q_proj", "down_proj"] });
    const first = initialTensors(adapter.parameters, 4, NO_SOURCES);
    for (const { name, shape: [rows = 0, columns = 0] } of adapter.parameters) {
      const data = must(first.get(name), name).data;
      expect(data).toHaveLength(rows * columns);
      if (name.includes("lora_B")) expect(data.every((x) => x === 0)).toBe(true);
      else {
        const bound = 1 / Math.sqrt(columns);
        const largest = data.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
        expect(largest).toBeLessThanOrEqual(bound);
        expect(largest).toBeGreaterThan(0.95 * bound);
        // A uniform number within ±b has the variance b²/3.
        const variance = data.reduce((sum, x) => sum + x * x, 0) / data.length;
        expect(Math.abs(variance / (bound * bound / 3) - 1)).toBeLessThan(0.15);
      }
    }
    expect(initialTensors(adapter.parameters, 4, NO_SOURCES)).toEqual(first);
    expect(initialTensors(bind({ r: 16, target_modules: ["down_proj"] }).parameters, 4, NO_SOURCES)).toEqual(new Map([...first].filter(([name]) => name.includes("down_proj"))));
    const values = [...first].filter(([name]) => name.includes("lora_A")).map(([, t]) => t.data[0]);
    expect(new Set([...values, ...[...initialTensors(adapter.parameters, 5, NO_SOURCES).values()].map((t) => t.data[0]).filter((x) => x !== 0)]).size).toBe(2 * values.length);
  });
});
