import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { TINIEST_GPT2, TINIEST_LLAMA, tensorGradients } from "../../../test/support/tiny-gradients.ts";
import { openTiny, TINY_CONFIGS, writeTinyModel, type ModelConfig } from "../../../test/support/tiny-models.ts";
import { lossesOfMerged, lossesOfPacks } from "../../../test/support/tiny-passes.ts";
import { mergeRuleOf, NO_SOURCES, randomAdapter, temporaryFolder } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { openArchitecture } from "../architectures/all.ts";
import { readAdapterSettings, readAdapterTensors, writeAdapterFolder } from "./adapter-folder.ts";
import { bindAdapter, initialTensors } from "./all.ts";
import { adapterSchema } from "./settings.ts";

const GOLDEN = "../shared/goldens/peft/stories260k.ia3/adapter";
const root = temporaryFolder();
const bind = (config: ModelConfig, settings: Readonly<Record<string, unknown>> = {}) => bindAdapter(adapterSchema.parse({ method: "ia3", ...settings }), openTiny(config));
const shapes = (config: ModelConfig, settings?: Readonly<Record<string, unknown>>) => Object.fromEntries(bind(config, settings).parameters.map(({ name, shape }) => [name.replace("base_model.model.", ""), shape]));
const LLAMA = TINY_CONFIGS.llama;

describe("the vectors of (IA)³", () => {
  test("are [out, 1] for keys and values and [1, in] where the feed-forward ends, by PEFT's names", () => {
    expect(shapes(LLAMA)).toEqual(Object.fromEntries([0, 1].flatMap((i) => [
      [`model.layers.${i}.self_attn.k_proj.ia3_l`, [8, 1]], [`model.layers.${i}.self_attn.v_proj.ia3_l`, [8, 1]], [`model.layers.${i}.mlp.down_proj.ia3_l`, [1, 35]],
    ])));
  });

  // PEFT 0.21: TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING; phi3 and smollm3, which it lacks, like their kin.
  test.each([
    ["llama", ["k_proj", "v_proj", "down_proj"]], ["mistral", ["k_proj", "v_proj", "down_proj"]], ["smollm3", ["k_proj", "v_proj", "down_proj"]],
    ["gemma", ["q_proj", "v_proj", "down_proj"]], ["gemma2", ["q_proj", "v_proj", "down_proj"]], ["gemma3_text", ["q_proj", "v_proj", "down_proj"]],
    ["qwen2", ["q_proj", "v_proj", "down_proj"]], ["qwen3", ["q_proj", "v_proj", "down_proj"]], ["phi3", ["qkv_proj", "down_proj"]],
    ["gpt2", ["c_attn", "mlp.c_proj"]], ["opt", ["q_proj", "k_proj", "fc2"]], ["bloom", ["query_key_value", "mlp.dense_4h_to_h"]], ["gpt_neox", ["query_key_value", "dense_4h_to_h"]],
  ] as const)("stand where PEFT's table says for %s: %s, the last by its input", (name, modules) => {
    const ends = (parts: readonly string[]): string[] => [...new Set(parts)].sort();
    const given = Object.entries(shapes(TINY_CONFIGS[name]));
    const endOf = (path: string): string => modules.find((m) => path.endsWith(`.${m}.ia3_l`)) ?? path;
    expect(ends(given.map(([path]) => endOf(path)))).toEqual(ends(modules));
    expect(ends(given.filter(([, shape]) => shape[0] === 1).map(([path]) => endOf(path)))).toEqual([modules.at(-1)]);
    expect(given).toHaveLength(2 * modules.length);
  });

  test("follow the settings: other modules, some excluded, others scaled by their inputs", () => {
    expect(shapes(LLAMA, { target_modules: ["q_proj", "up_proj"], feedforward_modules: ["up_proj"], exclude_modules: ["0.self_attn.q_proj"] })).toEqual({
      "model.layers.0.mlp.up_proj.ia3_l": [1, 24], "model.layers.1.mlp.up_proj.ia3_l": [1, 24], "model.layers.1.self_attn.q_proj.ia3_l": [24, 1],
    });
    expect(shapes(LLAMA, { target_modules: ".*0.*down_proj", feedforward_modules: [] })).toEqual({ "model.layers.0.mlp.down_proj.ia3_l": [24, 1] });
    expect(() => bind(LLAMA, { target_modules: ["k_proj"], feedforward_modules: ["down_proj"] })).toThrow("adapter.feedforward_modules: expected modules among target_modules, got `down_proj`, which matches none of them. Name it in target_modules too");
  });

  test("start at 1, or at normal draws", () => {
    const start = (settings: Readonly<Record<string, unknown>>) => [...initialTensors(bind(LLAMA, settings).parameters, 4, NO_SOURCES).values()].flatMap((t) => [...t.data]);
    expect(start({})).toEqual(Array.from({ length: 2 * (8 + 8 + 35) }, () => 1));
    expect(new Set(start({ init_ia3_weights: false })).size).toBe(102);
  });
});

describe("a model under (IA)³", () => {
  test.each([["llama", TINIEST_LLAMA, {}], ["gpt2, whose projections have biases", TINIEST_GPT2, {}], ["llama, its output embedding too", { ...TINIEST_LLAMA, tie_word_embeddings: false }, { target_modules: ["lm_head", "o_proj"] }]])("has the gradients of central differences in float64: %s", (_, config, settings) => {
    for (const { name, value, expected } of tensorGradients(config, { method: "ia3", ...settings })) {
      expect([name, relativeError(value, expected) < 1e-6]).toEqual([name, true]);
      expect([name, expected.some((x) => Math.abs(x) > 1e-3)]).toEqual([name, true]);
    }
  });

  test.each([
    ["llama", {}], ["gpt2", {}], ["opt", {}], ["phi3", {}],
    ["bloom", { target_modules: ["mlp.dense_4h_to_h", "dense_h_to_4h"], feedforward_modules: ["dense_4h_to_h"], modules_to_save: ["ln_f"] }],
  ] as const)("gives in packs what it gives apart, and merged what it gives unmerged: %s", async (name, settings) => {
    const folder = join(root, name);
    writeTinyModel(folder, TINY_CONFIGS[name]);
    const { packed, apart } = await lossesOfPacks(folder, { method: "ia3", ...settings }, [9, 4, 6]);
    expect(relativeError(packed, apart)).toBeLessThan(1e-5);
    const { adapted, base, merged } = await lossesOfMerged(folder, { method: "ia3", ...settings }, { out: join(root, `${name}-merged`), lengths: [9, 4, 6] });
    expect(relativeError(merged, adapted)).toBeLessThan(2e-6);
    expect(relativeError(base, adapted)).toBeGreaterThan(0.001);
  });

  test.each([["llama", "model.layers.0.mlp.down_proj.weight"], ["gpt2", "transformer.h.1.attn.c_attn.weight"], ["gpt2", "transformer.h.1.attn.c_attn.bias"]] as const)("is taken back out of merged weights: %s %s", (config, name) => {
    const adapter = bind(TINY_CONFIGS[config]);
    const tensors = randomAdapter(adapter.parameters);
    const values = (parameter: string): Float32Array => must(tensors.get(parameter), parameter).data;
    const shape = must(openTiny(TINY_CONFIGS[config]).tensors.find((t) => t.name === name), name).shape;
    const base = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.cos(i));
    const merged = Float32Array.from(must(mergeRuleOf(adapter)({ name, shape, base, values }), "merged"));
    expect(relativeError(merged, base)).toBeGreaterThan(0.1);
    if (typeof adapter.unmerge !== "function") throw new Error("expected an adapter that is taken back out");
    expect(relativeError(must(adapter.unmerge({ name, shape, base: merged, values }), "base"), base)).toBeLessThan(1e-6);
    const unmerge = adapter.unmerge;
    expect(() => unmerge({ name, shape, base: merged, values: (parameter) => new Float32Array(values(parameter).length) })).toThrow("expected an (IA)³ that scales by other than 0");
  });
});

describe("PEFT's format", () => {
  const write = (folder: string, given: Readonly<Record<string, unknown>>, config: ModelConfig = LLAMA) => {
    const [settings, model] = [adapterSchema.parse({ method: "ia3", ...given }), openTiny(config)];
    const parameters = randomAdapter(bindAdapter(settings, model).parameters);
    writeAdapterFolder(folder, { settings, model, baseModel: "some/model", parameters, frozen: new Map() });
    const fields: unknown = JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8"));
    return { parameters, model, fields };
  };

  test("names the modules that a setting left out came to, and comes back with the same tensors", () => {
    const folder = join(root, "defaults");
    const { fields, parameters, model } = write(folder, {}, TINY_CONFIGS.gpt2);
    expect(fields).toMatchObject({ peft_type: "IA3", target_modules: ["c_attn", "mlp.c_proj"], feedforward_modules: ["mlp.c_proj"], fan_in_fan_out: true, init_ia3_weights: true, exclude_modules: null, modules_to_save: null });
    expect(readAdapterTensors(folder, bindAdapter(readAdapterSettings(folder), model))).toEqual({ parameters, frozen: new Map() });
  });

  test.each([
    [{ target_modules: ["q_proj"] }, []],
    [{ target_modules: ["k_proj", "mlp.down_proj"], feedforward_modules: ["down_proj"] }, ["mlp.down_proj"]],
    [{ target_modules: ["k_proj", "up_proj"], feedforward_modules: ["0.mlp.up_proj"] }, String.raw`model\.layers\.0\.mlp\.up_proj`],
    [{ target_modules: "all-linear", feedforward_modules: ["down_proj"] }, ["down_proj"]],
  ])("writes feedforward_modules so that PEFT takes them: %o as %o", (given, feedforward_modules) => {
    const folder = join(root, "feed-forward");
    const { fields, parameters, model } = write(folder, given);
    expect(fields).toMatchObject({ feedforward_modules });
    expect(readAdapterTensors(folder, bindAdapter(readAdapterSettings(folder), model)).parameters).toEqual(parameters);
  });

  test("with modules that are saved whole, comes back as it was", () => {
    const folder = join(root, "saved");
    const { fields, parameters, model } = write(folder, { modules_to_save: ["norm"], exclude_modules: ["v_proj"] });
    expect(fields).toMatchObject({ modules_to_save: ["norm"], exclude_modules: ["v_proj"] });
    expect([...parameters.keys()]).toContain("base_model.model.model.norm.weight");
    expect(readAdapterTensors(folder, bindAdapter(readAdapterSettings(folder), model)).parameters).toEqual(parameters);
  });

  test("refuses by name what is missing, of another width or unknown", () => {
    const folder = join(root, "refused");
    const { fields, model } = write(folder, {});
    const config = join(folder, "adapter_config.json");
    const put = (changes: object): void => writeFileSync(config, JSON.stringify({ ...(fields as object), ...changes }));
    const other = bindAdapter(readAdapterSettings(folder), openTiny({ ...LLAMA, intermediate_size: 40 }));
    expect(() => readAdapterTensors(folder, other)).toThrow("model.layers.0.mlp.down_proj.ia3_l: expected shape [1, 40], got [1, 35]");
    put({ target_modules: ["k_proj", "v_proj", "o_proj", "down_proj"] });
    expect(() => readAdapterTensors(folder, bindAdapter(readAdapterSettings(folder), model))).toThrow("expected a tensor base_model.model.model.layers.0.self_attn.o_proj.ia3_l, got none of that name");
    put({ target_modules: ["k_proj", "down_proj"] });
    expect(() => readAdapterTensors(folder, bindAdapter(readAdapterSettings(folder), model))).toThrow("a surplus tensor base_model.model.model.layers.0.self_attn.v_proj.ia3_l");
    put({ feedforward_modules: 3 });
    expect(() => readAdapterSettings(folder)).toThrow(`${config}: feedforward_modules: expected the fields of a IA3 adapter`);
    put({ gate: true });
    expect(() => readAdapterSettings(folder)).toThrow(`${config}: gate: expected fields that fedtune knows, got true`);
  });

  test.skipIf(!existsSync(GOLDEN))(`of an adapter that PEFT wrote is what fedtune writes (skipped where ${GOLDEN} is absent)`, async () => {
    const stories = await openArchitecture("assets/stories260k");
    const settings = readAdapterSettings(GOLDEN);
    const own = join(root, "like-peft");
    writeAdapterFolder(own, { ...readAdapterTensors(GOLDEN, bindAdapter(settings, stories)), settings, model: stories, baseModel: "stories260k" });
    expect(readdirSync(own).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    const config = (folder: string): unknown => JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8"));
    expect(config(own)).toEqual(config(GOLDEN));
    const bytes = (folder: string): Buffer => readFileSync(join(folder, "adapter_model.safetensors"));
    expect(bytes(own).equals(bytes(GOLDEN))).toBe(true);
  });
});
