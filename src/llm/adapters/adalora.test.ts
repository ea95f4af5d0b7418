import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkGradient, moduleOutput, penalties } from "../../../test/support/adapter-graph.ts";
import { relativeError } from "../../../test/support/numbers.ts";
import { TINY_CONFIGS, openTiny, writeTinyModel } from "../../../test/support/tiny-models.ts";
import { mergeRuleOf, NO_SOURCES, randomAdapter, randomDataset, succeeded, temporaryFolder, tinySetup, trainAlone, valuesOf } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { tensor, type NamedTensors } from "../../core/base/tensor.ts";
import { bindAdapter, initialTensors } from "./all.ts";
import { readAdapterSettings, readAdapterTensors, writeAdapterFolder } from "./adapter-folder.ts";
import { adapterSchema } from "./settings.ts";

const root = temporaryFolder();
const model = openTiny(TINY_CONFIGS.llama);
const settingsOf = (changes: Readonly<Record<string, unknown>> = {}) => adapterSchema.parse({ method: "adalora", init_r: 3, target_r: 2, lora_alpha: 7, target_modules: ["k_proj", "down_proj"], ...changes });
const bind = (changes: Readonly<Record<string, unknown>> = {}) => bindAdapter(settingsOf(changes), model);
const KEY = "model.layers.0.self_attn.k_proj";
const nameOf = (path: string, part: string): string => `base_model.model.${path}.lora_${part}`;
const data = (tensors: NamedTensors<"float32">, name: string): Float32Array => must(tensors.get(name), name).data;

/** 7 / (3 + 1e-5) · B diag(E) A `[out, in]`, by its equation. */
function changeOf(tensors: NamedTensors<"float32">, path: string, inFeatures: number): (o: number, i: number) => number {
  const [a, e, b] = [data(tensors, nameOf(path, "A")), data(tensors, nameOf(path, "E")), data(tensors, nameOf(path, "B"))];
  return (o, i) => (7 / 3.00001) * e.reduce((sum, value, k) => sum + (b[o * e.length + k] ?? 0) * value * (a[k * inFeatures + i] ?? 0), 0);
}

/** orth_reg_weight times the mean over all A and B of ‖AAᵀ − I‖ and ‖BᵀB − I‖. */
function penaltyOf(tensors: NamedTensors<"float32">, weight: number): number {
  const norms = [...tensors].filter(([name]) => /lora_[AB]$/.test(name)).map(([name, { shape: [rows = 0, columns = 0], data: x }]) => {
    const [count, width] = name.endsWith("A") ? [rows, columns] : [columns, rows];
    const at = (k: number, i: number): number => x[name.endsWith("A") ? k * columns + i : i * columns + k] ?? 0;
    let square = 0;
    for (let k = 0; k < count; k++) {
      for (let l = 0; l < count; l++) {
        let dot = k === l ? -1 : 0;
        for (let i = 0; i < width; i++) dot += at(k, i) * at(l, i);
        square += dot * dot;
      }
    }
    return Math.sqrt(square);
  });
  return (weight * norms.reduce((p, q) => p + q, 0)) / norms.length;
}

describe("AdaLoRA", () => {
  test("has PEFT's names and shapes, and starts as the base from vectors with a deviation of 0.02", () => {
    const { parameters } = bind({ init_r: 50 });
    expect(parameters.slice(0, 4).map(({ name, shape }) => [name, shape])).toEqual([
      [nameOf(KEY, "A"), [50, 24]], [nameOf(KEY, "E"), [50, 1]], [nameOf(KEY, "B"), [8, 50]],
      [nameOf("model.layers.0.mlp.down_proj", "A"), [50, 35]],
    ]);
    for (const [name, { data: values }] of initialTensors(parameters, 4, NO_SOURCES)) {
      if (name.endsWith("E")) expect(values.every((x) => x === 0)).toBe(true);
      else expect(Math.abs(Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length) / 0.02 - 1)).toBeLessThan(0.1);
    }
  });

  test.each([KEY, "model.layers.1.mlp.down_proj"])("adds lora_alpha / (init_r + 1e-5) · B diag(E) A x with each client's own tensors: %s", (path) => {
    const { inFeatures, outFeatures } = must(model.linears.find((l) => l.path === path), path);
    const { clients, x, product, y } = moduleOutput(bind(), model, path);
    const expected = clients.flatMap((tensors, c) => {
      const change = changeOf(tensors, path, inFeatures);
      return Array.from({ length: 3 * outFeatures }, (_, at) => {
        const [row, o] = [c * 3 + Math.floor(at / outFeatures), at % outFeatures];
        return (product[row * outFeatures + o] ?? 0) + Array.from({ length: inFeatures }, (__, i) => change(o, i) * (x[row * inFeatures + i] ?? 0)).reduce((p, q) => p + q, 0);
      });
    });
    expect(relativeError(must(y, "y"), expected)).toBeLessThan(1e-12);
  });

  test("keeps its scaling where ranks are gone, and changes nothing where all are", () => {
    const rank_pattern = { [`${KEY}.lora_E`]: [true, false, true], "model.layers.1.self_attn.k_proj.lora_E": [false, false, false] };
    const adapter = bind({ rank_pattern });
    expect(adapter.parameters.filter(({ name }) => name.includes("k_proj")).map(({ shape }) => shape)).toEqual([[2, 24], [2, 1], [8, 2], [0, 24], [0, 1], [8, 0]]);
    const { clients, x, product, y } = moduleOutput(adapter, model, KEY);
    const change = changeOf(must(clients[0], "client"), KEY, 24);
    const first = (product[0] ?? 0) + Array.from({ length: 24 }, (_, i) => change(0, i) * (x[i] ?? 0)).reduce((p, q) => p + q, 0);
    expect(y?.[0]).toBeCloseTo(first, 12);
    expect(moduleOutput(adapter, model, "model.layers.1.self_attn.k_proj").y).toBeUndefined();
  });

  test("has a penalty for each client: the mean distance of its vectors from orthogonal ones", () => {
    const { clients, values } = penalties(bind({ orth_reg_weight: 0.3 }));
    expect(relativeError(values, clients.map((tensors) => penaltyOf(tensors, 0.3)))).toBeLessThan(1e-7);
    expect("penalty" in bind({ orth_reg_weight: 0 })).toBe(false);
  });

  test("has the gradient of central differences in float64, the penalty included", () => {
    const config = { ...TINY_CONFIGS.llama, vocab_size: 11, hidden_size: 8, intermediate_size: 7, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 1 };
    const adapter = bindAdapter(settingsOf({ orth_reg_weight: 0.3, target_modules: ["k_proj", "down_proj", "gate_proj"] }), openTiny(config));
    const { errors, alive } = checkGradient(config, adapter, (tensors) => penaltyOf(tensors, 0.3));
    expect(Object.entries(errors).filter(([, error]) => !(error < 1e-6))).toEqual([]);
    expect([Object.keys(errors).length, alive]).toEqual([9, true]);
  });

  test("merges into a weight as its change, and is taken out again", () => {
    const adapter = bind();
    const tensors = randomAdapter(adapter.parameters);
    const values = (name: string): Float32Array => data(tensors, name);
    const base = Float32Array.from({ length: 8 * 24 }, (_, i) => 7 - i / 4);
    const change = changeOf(tensors, KEY, 24);
    const merged = must(mergeRuleOf(adapter)({ name: `${KEY}.weight`, shape: [8, 24], base, values }), "merged");
    expect(relativeError(merged, Array.from(base, (x, at) => x + change(Math.floor(at / 24), at % 24)))).toBeLessThan(1e-12);
    expect(Math.max(...merged.map((x, i) => Math.abs(x - (base[i] ?? 0))))).toBeGreaterThan(0.01);
    const { unmerge } = adapter;
    const back = typeof unmerge === "function" ? unmerge({ name: `${KEY}.weight`, shape: [8, 24], base: Float32Array.from(merged), values }) : undefined;
    expect(relativeError(must(back, "unmerged"), base)).toBeLessThan(1e-6);
    expect(mergeRuleOf(adapter)({ name: "model.layers.1.self_attn.q_proj.weight", shape: [24, 24], base, values })).toBeUndefined();
  });

  test.each([
    [{ target_r: 4 }, "adapter.target_r: expected at most init_r (3), got 4"],
    [{ tinit: 3, tfinal: 4, total_step: 7 }, "adapter.total_step: expected more than tinit + tfinal (7)"],
    [{ rank_pattern: { "model.layers.0.self_attn.q_proj.lora_E": [true, true, false] } }, "adapter.rank_pattern.model.layers.0.self_attn.q_proj.lora_E: expected the lora_E of an adapted module"],
    [{ rank_pattern: { [`${KEY}.lora_E`]: [true] } }, `adapter.rank_pattern.${KEY}.lora_E: expected init_r (3) truth values, got 1`],
  ])("refuses settings that do not fit: %o", (changes, message) => {
    expect(() => bind(changes)).toThrow(message);
  });
});

describe("a folder of AdaLoRA", () => {
  const folder = join(root, "adapter");
  const settings = settingsOf({ tinit: 4, tfinal: 5, deltaT: 2, beta1: 0.7, beta2: 0.6, orth_reg_weight: 0.25, lora_dropout: 0.125, total_step: 90, exclude_modules: ["layers.1.mlp.down_proj"] });
  const adapter = bindAdapter(settings, model);
  const write = (parameters: NamedTensors<"float32">, given = settings): void => writeAdapterFolder(folder, { settings: given, model, baseModel: "some/model", parameters, frozen: new Map() });
  const read = () => {
    const back = readAdapterSettings(folder);
    return { back, ...readAdapterTensors(folder, bindAdapter(back, model)) };
  };
  /** Random tensors with these singular values of each module. */
  const withValues = (...values: readonly (readonly number[])[]): NamedTensors<"float32"> => {
    let at = 0;
    return new Map([...randomAdapter(adapter.parameters)].map(([name, t]) => [name, name.endsWith("E") ? tensor("float32", t.shape, Float32Array.from(values[at++] ?? t.data)) : t]));
  };
  const json = (): Record<string, unknown> => JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8")) as Record<string, unknown>;

  test("comes back with the same settings and bits, with a schedule of its own or the run's", () => {
    for (const given of [settings, settingsOf({ ...settings, total_step: undefined })]) {
      const tensors = randomAdapter(adapter.parameters);
      write(tensors, given);
      expect(read()).toEqual({ back: given, parameters: tensors, frozen: new Map() });
    }
    // What PEFT demands: room for an allocation.
    expect(json()).toMatchObject({ peft_type: "ADALORA", total_step: 10, rank_pattern: null, r: 8, init_r: 3 });
  });

  test("is without the ranks whose singular value is 0, and says which there were", () => {
    const tensors = withValues([0, 0.5, -0.25], [0.5, 0.75, 1], [0, 0, 0]);
    write(tensors);
    const { back, parameters } = read();
    expect(json()["rank_pattern"]).toEqual({ [`${KEY}.lora_E`]: [false, true, true], "model.layers.0.mlp.down_proj.lora_E": [true, true, true], "model.layers.1.self_attn.k_proj.lora_E": [false, false, false] });
    expect([...parameters].filter(([name]) => name.includes("k_proj")).map(([, { shape }]) => shape)).toEqual([[2, 24], [2, 1], [8, 2], [0, 24], [0, 1], [8, 0]]);
    const [a, b] = [data(tensors, nameOf(KEY, "A")), data(tensors, nameOf(KEY, "B"))];
    expect(data(parameters, nameOf(KEY, "A"))).toEqual(a.slice(24));
    expect(data(parameters, nameOf(KEY, "B"))).toEqual(b.filter((_, i) => i % 3 > 0));
    const base = new Float32Array(8 * 24);
    const merged = (bound: typeof adapter, from: NamedTensors<"float32">) => mergeRuleOf(bound)({ name: `${KEY}.weight`, shape: [8, 24], base, values: (name) => data(from, name) });
    expect(relativeError(must(merged(bindAdapter(back, model), parameters), "merged"), must(merged(adapter, tensors), "merged"))).toBeLessThan(1e-12);
  });

  test("of fewer ranks goes through fedtune again without change, and loses further ones", () => {
    write(withValues([0, 0.5, -0.25], [0.5, 0.75, 1], [0, 0, 0]));
    const files = (): Buffer[] => ["adapter_config.json", "adapter_model.safetensors"].map((name) => readFileSync(join(folder, name)));
    const [before, { back, parameters }] = [files(), read()];
    write(parameters, back);
    expect(files().map((bytes, i) => bytes.equals(before[i] ?? Buffer.alloc(0)))).toEqual([true, true]);
    write(new Map([...parameters, [nameOf(KEY, "E"), tensor("float32", [2, 1], Float32Array.of(0.5, 0))]]), back);
    expect(json()["rank_pattern"]).toMatchObject({ [`${KEY}.lora_E`]: [false, true, false] });
    expect(data(read().parameters, nameOf(KEY, "E"))).toEqual(Float32Array.of(0.5));
  });

  test("that has not trained keeps its ranks", () => {
    write(initialTensors(adapter.parameters, 3, NO_SOURCES));
    expect(json()["rank_pattern"]).toBeNull();
  });

  test.each([
    ["bias", "all", 'bias: expected "none", got "all"'],
    ["lora_alpha", 0, "lora_alpha: expected"],
    ["beta1", 1, "beta1: expected"],
    ["rank_pattern", { x: 3 }, "rank_pattern.x: expected"],
    ["layer_replication", [[0, 1]], "layer_replication: expected null"],
    ["some_new_field", 3, "some_new_field: expected fields that fedtune knows, got 3"],
  ])("is refused for %s = %j by the field's name", (field, value, message) => {
    write(randomAdapter(adapter.parameters));
    writeFileSync(join(folder, "adapter_config.json"), JSON.stringify({ ...json(), [field]: value }));
    expect(() => readAdapterSettings(folder)).toThrow(`adapter_config.json: ${message}`);
  });

  test("is refused where a tensor's rank is not what rank_pattern says", () => {
    write(randomAdapter(adapter.parameters));
    writeFileSync(join(folder, "adapter_config.json"), JSON.stringify({ ...json(), rank_pattern: { [`${KEY}.lora_E`]: [true, false, true] } }));
    expect(read).toThrow(`${nameOf(KEY, "A")}: expected shape [2, 24], got [3, 24]`);
  });
});

describe("training AdaLoRA", () => {
  const folder = join(root, "model");
  writeTinyModel(folder, TINY_CONFIGS.llama);
  const adapter = settingsOf({ init_r: 4, target_r: 2, tinit: 1, tfinal: 1, target_modules: "all-linear" });
  const specs = bindAdapter(adapter, model).parameters;
  const setup = (clientsSideBySide: number, given = adapter) => ({
    ...tinySetup(folder, randomDataset([5, 17, 9, 24, 7, 12], 61), { clientsSideBySide, training: { learning_rate: 0.02 } }), adapter: given,
  });
  const job = (client: number, seed: number, changes = {}) => ({ client, round: 1, steps: 5, stepsDone: 0, totalSteps: 5, adapter: randomAdapter(specs, seed), examples: Int32Array.of(0, 1, 2, client), ...changes });
  const values = (tensors: NamedTensors<"float32">): number[] => [...tensors].filter(([name]) => name.endsWith("E")).flatMap(([, t]) => [...t.data]);

  test("ends at the target rank, with other ranks for other clients, and side by side as each alone", async () => {
    const jobs = [job(3, 21), job(4, 22)];
    const together = (await trainAlone(setup(2), jobs)).map(succeeded);
    expect(together.map((r) => values(r.adapter).filter((x) => x !== 0).length)).toEqual([2 * 14, 2 * 14]);
    const kept = together.map((r) => values(r.adapter).map((x) => x !== 0));
    expect(kept[0]).not.toEqual(kept[1]);
    for (const [i, one] of jobs.entries()) {
      const alone = succeeded((await trainAlone(setup(2), [one]))[0]);
      expect(values(alone.adapter).map((x) => x !== 0)).toEqual(kept[i]);
      expect(relativeError(valuesOf(must(together[i], "result").adapter), valuesOf(alone.adapter))).toBeLessThan(1e-4);
    }
  });

  test("in two jobs that carry the state on ends with the bytes of one", async () => {
    const whole = succeeded((await trainAlone(setup(1), [job(0, 21)]))[0]);
    const first = succeeded((await trainAlone(setup(1), [job(0, 21, { steps: 3 })]))[0]);
    const rest = succeeded((await trainAlone(setup(1), [job(0, 21, { round: 2, steps: 2, stepsDone: 3, adapter: first.adapter, optimizer: first.optimizer })]))[0]);
    expect(rest.adapter).toEqual(whole.adapter);
  });

  test("goes on from a folder of fewer ranks, one module without any", async () => {
    const from = join(root, "fewer");
    const start = new Map([...randomAdapter(specs, 21)].map(([name, t]) => [name, name.endsWith("k_proj.lora_E") || name.endsWith("v_proj.lora_E") ? tensor("float32", t.shape, name.includes("k_proj") ? new Float32Array(4) : Float32Array.of(0, 0.2, 0.3, 0)) : t]));
    writeAdapterFolder(from, { settings: adapter, model, baseModel: "some/model", parameters: start, frozen: new Map() });
    const given = { ...readAdapterSettings(from), init_from: from };
    const { parameters } = readAdapterTensors(from, bindAdapter(given, model));
    const [fewer] = await trainAlone(setup(1, given), [job(0, 21, { adapter: parameters, steps: 1 })]);
    const [all] = await trainAlone(setup(1), [job(0, 21, { adapter: start, steps: 1 })]);
    expect(succeeded(fewer).loss).toBeCloseTo(succeeded(all).loss, 5);
    expect(values(succeeded(fewer).adapter)).toHaveLength(14 * 4 - 2 * 4 - 2 * 2);
  });
});
