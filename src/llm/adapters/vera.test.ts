import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkGradient, moduleOutput } from "../../../test/support/adapter-graph.ts";
import { relativeError } from "../../../test/support/numbers.ts";
import { TINY_CONFIGS, openTiny, writeTinyModel } from "../../../test/support/tiny-models.ts";
import { mergeRuleOf, NO_SOURCES, randomAdapter, randomDataset, succeeded, temporaryFolder, tinySetup, trainAlone, valuesOf } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { tensor, type NamedTensors } from "../../core/base/tensor.ts";
import { readSafetensors } from "../../core/formats/safetensors.ts";
import { writeSafetensors } from "../../core/formats/safetensors-writer.ts";
import { bindAdapter, initialTensors } from "./all.ts";
import { readAdapterSettings, readAdapterTensors, writeAdapterFolder } from "./adapter-folder.ts";
import { adapterSchema } from "./settings.ts";

const root = temporaryFolder();
const model = openTiny(TINY_CONFIGS.llama);
const settingsOf = (changes: Readonly<Record<string, unknown>> = {}) => adapterSchema.parse({ method: "vera", r: 5, target_modules: ["k_proj", "down_proj"], ...changes });
const bind = (changes: Readonly<Record<string, unknown>> = {}) => bindAdapter(settingsOf(changes), model);
const [A, B] = ["base_model.vera_A", "base_model.vera_B"];
const frozenOf = (adapter: ReturnType<typeof bind>, seed = 1): NamedTensors<"float32"> => initialTensors(adapter.frozen, seed, NO_SOURCES);
const data = (tensors: NamedTensors<"float32">, name: string): Float32Array => must(tensors.get(name), name).data;

/** Λ_b B Λ_d A of a module `[out, in]`, by its equation. */
function changeOf(adapter: ReturnType<typeof bind>, tensors: NamedTensors<"float32">, path: string): (o: number, i: number) => number {
  const frozen = frozenOf(adapter);
  const [a, b] = [data(frozen, A), data(frozen, B)];
  const widest = must(adapter.frozen.find((f) => f.name === A)?.shape[1], "width");
  const [lambdaB, lambdaD] = [data(tensors, `base_model.model.${path}.vera_lambda_b`), data(tensors, `base_model.model.${path}.vera_lambda_d`)];
  return (o, i) => (lambdaB[o] ?? 0) * lambdaD.reduce((sum, d, k) => sum + (b[o * 5 + k] ?? 0) * d * (a[k * widest + i] ?? 0), 0);
}

describe("VeRA", () => {
  test("has PEFT's names and shapes, and one pair of projections as large as the widest module needs", () => {
    const { parameters, frozen } = bind();
    expect(parameters.slice(0, 4).map(({ name, shape }) => [name, shape])).toEqual([
      ["base_model.model.model.layers.0.self_attn.k_proj.vera_lambda_b", [8]], ["base_model.model.model.layers.0.self_attn.k_proj.vera_lambda_d", [5]],
      ["base_model.model.model.layers.0.mlp.down_proj.vera_lambda_b", [24]], ["base_model.model.model.layers.0.mlp.down_proj.vera_lambda_d", [5]],
    ]);
    expect(parameters).toHaveLength(8);
    // in: 24 of k_proj, 35 of down_proj; out: 8 and 24.
    expect(frozen.map(({ name, shape, saved }) => [name, shape, saved])).toEqual([[A, [5, 35], true], [B, [24, 5], true]]);
  });

  test.each(["model.layers.0.self_attn.k_proj", "model.layers.1.mlp.down_proj"])("adds Λ_b B Λ_d A x with each client's own diagonals: %s", (path) => {
    const adapter = bind();
    const { inFeatures, outFeatures } = must(model.linears.find((l) => l.path === path), path);
    const { clients, x, product, y } = moduleOutput(adapter, model, path);
    const expected = clients.flatMap((tensors, c) => {
      const change = changeOf(adapter, tensors, path);
      return Array.from({ length: 3 * outFeatures }, (_, at) => {
        const [row, o] = [c * 3 + Math.floor(at / outFeatures), at % outFeatures];
        return (product[row * outFeatures + o] ?? 0) + Array.from({ length: inFeatures }, (__, i) => change(o, i) * (x[row * inFeatures + i] ?? 0)).reduce((p, q) => p + q, 0);
      });
    });
    expect(relativeError(must(y, "y"), expected)).toBeLessThan(1e-12);
  });

  test("leaves other modules alone", () => {
    expect(moduleOutput(bind(), model, "model.layers.0.self_attn.q_proj").y).toBeUndefined();
    expect(moduleOutput(bind({ layers_to_transform: 1 }), model, "model.layers.0.self_attn.k_proj").y).toBeUndefined();
  });

  test("has the gradient of central differences in float64, the head included", () => {
    const config = { ...TINY_CONFIGS.llama, vocab_size: 11, hidden_size: 8, intermediate_size: 7, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 1, tie_word_embeddings: false };
    const adapter = bindAdapter(settingsOf({ r: 3, target_modules: ["k_proj", "down_proj", "gate_proj", "lm_head"] }), openTiny(config));
    const { errors, alive } = checkGradient(config, adapter);
    expect(Object.entries(errors).filter(([, error]) => !(error < 1e-6))).toEqual([]);
    expect([Object.keys(errors).length, alive]).toEqual([8, true]);
  });

  test("starts as the base: b is 0 and d is d_initial; without init_weights b is 1 and d is drawn", () => {
    const first = initialTensors(bind({ d_initial: 0.25 }).parameters, 4, NO_SOURCES);
    for (const [name, { data: values }] of first) expect([name, values.every((x) => x === (name.endsWith("_b") ? 0 : 0.25))]).toEqual([name, true]);
    const other = [...initialTensors(bind({ init_weights: false }).parameters, 4, NO_SOURCES)];
    expect(other.filter(([name]) => name.endsWith("_b")).every(([, t]) => t.data.every((x) => x === 1))).toBe(true);
    expect(new Set(other.filter(([name]) => name.endsWith("_d")).flatMap(([, t]) => [...t.data])).size).toBe(20);
  });

  test("draws the projections from projection_prng_key alone, uniform within Kaiming's bounds", () => {
    const wide = bind({ r: 60, target_modules: "all-linear" });
    const frozen = frozenOf(wide);
    for (const { name, shape } of wide.frozen) {
      const values = data(frozen, name);
      const bound = Math.sqrt(6 / (shape[1] ?? 0));
      const largest = values.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
      expect(largest).toBeLessThanOrEqual(bound);
      expect(largest).toBeGreaterThan(0.98 * bound);
      expect(Math.abs(values.reduce((sum, x) => sum + x * x, 0) / values.length / (bound * bound / 3) - 1)).toBeLessThan(0.1);
    }
    expect(frozenOf(wide, 99)).toEqual(frozen);
    expect(data(frozenOf(bind({ projection_prng_key: 3 })), A)).not.toEqual(data(frozenOf(bind()), A));
  });

  test("merges into a weight as Λ_b B Λ_d A, and is taken out again", () => {
    const adapter = bind();
    const path = "model.layers.1.self_attn.k_proj";
    const tensors = randomAdapter(adapter.parameters);
    const values = (name: string): Float32Array => data(new Map([...tensors, ...frozenOf(adapter)]), name);
    const base = Float32Array.from({ length: 8 * 24 }, (_, i) => 7 - i / 4);
    const change = changeOf(adapter, tensors, path);
    const merged = must(mergeRuleOf(adapter)({ name: `${path}.weight`, shape: [8, 24], base, values }), "merged");
    expect(relativeError(merged, Array.from(base, (x, at) => x + change(Math.floor(at / 24), at % 24)))).toBeLessThan(1e-12);
    expect(Math.max(...merged.map((x, i) => Math.abs(x - (base[i] ?? 0))))).toBeGreaterThan(0.01);
    const { unmerge } = adapter;
    const back = typeof unmerge === "function" ? unmerge({ name: `${path}.weight`, shape: [8, 24], base: Float32Array.from(merged), values }) : undefined;
    expect(relativeError(must(back, "unmerged"), base)).toBeLessThan(1e-6);
    expect(mergeRuleOf(adapter)({ name: "model.layers.1.self_attn.q_proj.weight", shape: [24, 24], base, values })).toBeUndefined();
  });

  test.each([
    [{ layers_to_transform: [2] }, "adapter.layers_to_transform: expected layers 0 to 1, got 2"],
    [{ layers_to_transform: [0], target_modules: ".*k_proj" }, "adapter.layers_to_transform: expected target_modules that is a list"],
    [{ target_modules: ["k_prj"] }, "`k_prj`, which matches none. Did you mean `k_proj`?"],
  ])("refuses settings that do not fit the model: %o", (changes, message) => {
    expect(() => bind(changes)).toThrow(message);
  });

  test("refuses to leave the projections out, since no other program draws the same", () => {
    expect(() => settingsOf({ save_projection: false })).toThrow("save_projection");
  });
});

describe("a folder of VeRA", () => {
  const folder = join(root, "adapter");
  const settings = settingsOf({ vera_dropout: 0.25, layers_to_transform: [1], projection_prng_key: 12, d_initial: 0.5, modules_to_save: ["norm"] });
  const adapter = bindAdapter(settings, model);
  const tensors = randomAdapter(adapter.parameters);
  const write = (at: string): void => writeAdapterFolder(at, { settings, model, baseModel: "some/model", parameters: tensors, frozen: frozenOf(adapter) });
  const changeConfig = (changes: Readonly<Record<string, unknown>>): void => {
    const path = join(folder, "adapter_config.json");
    writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, "utf8")) as object), ...changes }));
  };

  test("comes back with the same settings and bits, and written again is the same bytes", () => {
    write(folder);
    const read = readAdapterSettings(folder);
    expect(read).toEqual(settings);
    const back = readAdapterTensors(folder, bindAdapter(read, model));
    expect(back).toEqual({ parameters: tensors, frozen: frozenOf(adapter) });
    const again = join(root, "again");
    writeAdapterFolder(again, { ...back, settings: read, model, baseModel: "some/model" });
    for (const name of ["adapter_config.json", "adapter_model.safetensors"]) expect(readFileSync(join(again, name)).equals(readFileSync(join(folder, name))), name).toBe(true);
  });

  test.each([
    ["save_projection", false, "save_projection: expected the fields of a VERA adapter, got false, so the shared projections are not in the file"],
    ["bias", "vera_only", 'bias: expected "none", got "vera_only"'],
    ["r", 0, "r: expected"],
    ["some_new_field", 3, "some_new_field: expected fields that fedtune knows, got 3"],
  ])("is refused for %s = %j by the field's name", (field, value, message) => {
    write(folder);
    changeConfig({ [field]: value });
    expect(() => readAdapterSettings(folder)).toThrow(`adapter_config.json: ${message}`);
  });

  test("is refused without its projections, and with those of another rank", () => {
    write(folder);
    const path = join(folder, "adapter_model.safetensors");
    const all = readSafetensors(path).tensors;
    writeSafetensors(path, new Map([...all].filter(([name]) => name !== A)), {});
    expect(() => readAdapterTensors(folder, adapter)).toThrow(`expected a tensor ${A}, got none of that name`);
    writeSafetensors(path, new Map([...all, [A, tensor("float32", [4, 35], new Float32Array(140))]]), {});
    expect(() => readAdapterTensors(folder, adapter)).toThrow(`${A}: expected shape [5, 35], got [4, 35]`);
  });
});

describe("training VeRA", () => {
  const folder = join(root, "model");
  writeTinyModel(folder, TINY_CONFIGS.llama);
  const setup = (clientsSideBySide: number, changes: Readonly<Record<string, unknown>> = {}) => ({
    ...tinySetup(folder, randomDataset([5, 17, 9, 24, 7, 12], 61), { clientsSideBySide, training: { optimizer: { name: "sgd", momentum: 0.5 }, learning_rate: 0.3 } }),
    adapter: settingsOf({ target_modules: "all-linear", ...changes }),
  });
  const job = (client: number, seed: number, adapter = randomAdapter(bind({ target_modules: "all-linear" }).parameters, seed)) =>
    ({ client, round: 1, steps: 2, stepsDone: 0, totalSteps: 4, adapter, examples: Int32Array.of(0, 1, 2, client) });

  test.each([[{}], [{ vera_dropout: 0.3 }]])("gives clients side by side what each gives alone: %o", async (changes) => {
    const jobs = [job(3, 21), job(4, 22)];
    const together = await trainAlone(setup(2, changes), jobs);
    for (const [i, one] of jobs.entries()) {
      const [a, b] = [succeeded(together[i]), succeeded((await trainAlone(setup(2, changes), [one]))[0])];
      expect(relativeError(valuesOf(a.adapter), valuesOf(b.adapter))).toBeLessThan(1e-5);
      expect(relativeError(valuesOf(a.adapter), valuesOf(one.adapter))).toBeGreaterThan(1e-2);
    }
  });

  test("goes on from a folder with the folder's projections", async () => {
    const from = join(root, "from");
    const adapter = bind({ target_modules: "all-linear" });
    const foreign = new Map([...frozenOf(adapter)].map(([name, t]) => [name, tensor("float32", t.shape, t.data.map((x) => -3 * x))]));
    writeAdapterFolder(from, { settings: settingsOf({ target_modules: "all-linear" }), model, baseModel: "some/model", parameters: job(0, 23).adapter, frozen: foreign });
    const [own] = await trainAlone(setup(1), [job(0, 23)]);
    const [other] = await trainAlone(setup(1, { init_from: from }), [job(0, 23)]);
    expect(Math.abs(succeeded(own).loss - succeeded(other).loss)).toBeGreaterThan(1e-3);
  });
});
