import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { openTiny, TINY_CONFIGS } from "../../../test/support/tiny-models.ts";
import { mergeRuleOf, randomAdapter, temporaryFolder } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { elementCount, type NamedTensors, type Tensor } from "../../core/base/tensor.ts";
import { readSafetensors } from "../../core/formats/safetensors.ts";
import { writeSafetensors } from "../../core/formats/safetensors-writer.ts";
import type { BoundAdapter } from "./adapter.ts";
import { readAdapterSettings, readAdapterTensors, writeAdapterFolder } from "./adapter-folder.ts";
import { bindAdapter, type AdapterSettings } from "./all.ts";
import { adapterSchema } from "./settings.ts";

const folder = join(temporaryFolder(), "adapter");
const [llama, qwen2, gpt2] = [openTiny(TINY_CONFIGS.llama), openTiny(TINY_CONFIGS.qwen2), openTiny(TINY_CONFIGS.gpt2)];
const NONE: NamedTensors<"float32"> = new Map();

/** Writes an adapter with random tensors and reads it again. */
function roundTrip(given: Readonly<Record<string, unknown>>, model = qwen2) {
  const settings = adapterSchema.parse(given);
  const adapter = bindAdapter(settings, model);
  const [tensors, frozen] = [randomAdapter(adapter.parameters), randomAdapter(adapter.frozen, 12)];
  writeAdapterFolder(folder, { settings, model, baseModel: "some/model", parameters: tensors, frozen });
  const read = readAdapterSettings(folder);
  return { settings, adapter, tensors, frozen, read, again: bindAdapter(read, model) };
}

const configOf = (): Readonly<Record<string, unknown>> => JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8")) as Record<string, unknown>;

/** Every weight and bias of a model as an adapter merges it into zeros. */
function changes(adapter: BoundAdapter, values: NamedTensors<"float32">): Map<string, ArrayLike<number>> {
  const merge = mergeRuleOf(adapter);
  const weights = qwen2.tensors.flatMap(({ shape, parts }) => parts.map(({ name, rows }) => ({ name, shape: shape.with(0, rows) })));
  return new Map(weights.flatMap(({ name, shape }) => {
    const found = merge({ name, shape, base: new Float32Array(elementCount(shape)), values: (tensor) => must(values.get(tensor), tensor).data });
    return found === undefined ? [] : [[name, found]];
  }));
}

const shared = {
  r: fc.integer({ min: 1, max: 5 }), lora_alpha: fc.integer({ min: 1, max: 20 }), lora_dropout: fc.constantFrom(0, 0.25), use_rslora: fc.boolean(),
  bias: fc.constantFrom("none", "all", "lora_only"), modules_to_save: fc.constantFrom([], ["lm_head"], ["norm", "embed_tokens"]),
  rank_pattern: fc.constantFrom({}, { q_proj: 2, "layers.1.self_attn.v_proj": 4 }), alpha_pattern: fc.constantFrom({}, { "0.*q_proj": 3.5 }),
};
const selections = fc.constantFrom(
  { target_modules: ["q_proj", "v_proj"] }, { target_modules: "all-linear", exclude_modules: ["up_proj"] }, { target_modules: ".*[qv]_proj" },
  { target_modules: ["k_proj"], layers_to_transform: 1 }, { target_modules: ["q_proj", "o_proj"], layers_to_transform: [0, 1], layers_pattern: "layers", exclude_modules: ".*0.*o_proj" },
);
const settingsOf = (method: string, starts: readonly (true | string)[]) =>
  fc.tuple(fc.record({ method: fc.constant(method), ...shared, init_lora_weights: fc.constantFrom(...starts) }), selections).map(([a, b]) => ({ ...a, ...b }));

describe("settings and tensors go through PEFT's format and come back without change", () => {
  test.each([["lora", [true, "gaussian"]], ["dora", [true, "gaussian"]]] as const)("%s", (method, starts) => {
    fc.assert(fc.property(settingsOf(method, starts), (given) => {
      const { settings, adapter, tensors, read, again } = roundTrip(given);
      expect(read).toEqual(settings);
      expect(readAdapterTensors(folder, again)).toEqual({ parameters: tensors, frozen: NONE });
      expect([...readSafetensors(join(folder, "adapter_model.safetensors")).tensors.keys()].sort()).toEqual(adapter.parameters.map(({ name }) => name).sort());
    }), { numRuns: 30, seed: 3 });
  });

  test("under PEFT's names: factors, magnitudes, biases and modules that train whole", () => {
    const { tensors } = roundTrip({ method: "dora", r: 2, target_modules: ["q_proj"], layers_to_transform: 0, bias: "lora_only", modules_to_save: ["model.norm"] });
    expect([...tensors].map(([name, { shape }]) => [name.replace("base_model.model.model.", ""), shape])).toEqual([
      ["layers.0.self_attn.q_proj.lora_A.weight", [2, 16]], ["layers.0.self_attn.q_proj.lora_B.weight", [16, 2]], ["layers.0.self_attn.q_proj.lora_magnitude_vector", [16]],
      ["layers.0.self_attn.q_proj.base_layer.bias", [16]], ["norm.weight", [16]],
    ]);
    expect(configOf()).toMatchObject({ peft_type: "LORA", use_dora: true, bias: "lora_only", modules_to_save: ["model.norm"], layers_to_transform: 0, fan_in_fan_out: false, init_lora_weights: true });
  });

  test("with fan_in_fan_out where the checkpoint's weights lie transposed", () => {
    roundTrip({ target_modules: ["c_attn"] }, gpt2);
    expect(configOf()).toMatchObject({ fan_in_fan_out: true });
    roundTrip({ target_modules: ["q_proj"] }, llama);
    expect(configOf()).toMatchObject({ fan_in_fan_out: false, modules_to_save: null, exclude_modules: null });
  });
});

describe("a start that PEFT keeps beside a changed base", () => {
  test("is written as a plain LoRA of twice the rank that changes the unchanged base as much", () => {
    fc.assert(fc.property(settingsOf("lora", ["pissa", "olora"]), (given) => {
      const { settings, adapter, tensors, frozen, read, again } = roundTrip(given);
      const [was, is] = [settings, read] as Extract<AdapterSettings, { method: "lora" }>[];
      expect([is?.init_lora_weights, is?.r]).toEqual([true, 2 * (was?.r ?? 0)]);
      const { parameters } = readAdapterTensors(folder, again);
      const [trained, plain] = [changes(adapter, new Map([...tensors, ...frozen])), changes(again, parameters)];
      expect([...plain.keys()]).toEqual([...trained.keys()]);
      for (const [name, change] of trained) expect(relativeError(must(plain.get(name), name), Array.from(change)), name).toBeLessThan(1e-12);
      expect(again.factorPairs.map(({ scaling }) => scaling.toFixed(12))).toEqual(adapter.factorPairs.map(({ scaling }) => scaling.toFixed(12)));
    }), { numRuns: 30, seed: 4 });
  });

  test("stacks A over A₀ and puts −B₀ beside B", () => {
    const { tensors, frozen, again } = roundTrip({ r: 2, target_modules: ["k_proj"], layers_to_transform: 0, init_lora_weights: "pissa" });
    const { parameters } = readAdapterTensors(folder, again);
    const path = "base_model.model.model.layers.0.self_attn.k_proj";
    const [a, a0, b, b0] = [tensors.get(`${path}.lora_A.weight`), frozen.get(`${path}.lora_A.initial`), tensors.get(`${path}.lora_B.weight`), frozen.get(`${path}.lora_B.initial`)].map((t) => must(t, "factor").data);
    expect([...must(parameters.get(`${path}.lora_A.weight`), "A").data]).toEqual([...must(a, "A"), ...must(a0, "A0")]);
    const joined = must(parameters.get(`${path}.lora_B.weight`), "B");
    expect(joined.shape).toEqual([8, 4]);
    expect([...joined.data.subarray(4, 8)]).toEqual([b?.[2], b?.[3], -must(b0?.[2], "B0"), -must(b0?.[3], "B0")]);
  });

  test("is read from a file as what it is", () => {
    roundTrip({ r: 2, target_modules: ["k_proj"] });
    const path = join(folder, "adapter_config.json");
    for (const [written, read] of [["PiSSA", "pissa"], ["olora", "olora"], ["eva", true], [false, true], [null, true]] as const) {
      writeAdapterFile(path, { init_lora_weights: written });
      expect(readAdapterSettings(folder)).toMatchObject({ init_lora_weights: read });
    }
    writeAdapterFile(path, { init_lora_weights: "olora", use_dora: true });
    expect(() => readAdapterSettings(folder)).toThrow('adapter_config.json: init_lora_weights: expected true, gaussian, got "olora". This variant of the method is not supported.');
  });

  test("is refused where the rank is higher than the weight has", () => {
    expect(() => roundTrip({ r: 9, target_modules: ["q_proj", "k_proj"], init_lora_weights: "olora" })).toThrow("adapter.r: expected at most 8 for init_lora_weights olora of model.layers.0.self_attn.k_proj (8 × 16), got 9. Lower r, or set rank_pattern for this module.");
    expect(() => adapterSchema.parse({ method: "dora", init_lora_weights: "pissa" })).toThrow("init_lora_weights");
  });
});

function writeAdapterFile(path: string, fields: Readonly<Record<string, unknown>>): void {
  writeFileSync(path, JSON.stringify({ ...configOf(), ...fields }));
}

describe("an adapter that does not fit is refused by the tensor's name", () => {
  const saved = { method: "dora", r: 3, target_modules: ["q_proj"], bias: "all", modules_to_save: ["lm_head"] };
  const change = (edit: (tensors: Map<string, Tensor>) => void) => {
    const { tensors, again } = roundTrip(saved);
    const edited = new Map<string, Tensor>(tensors);
    edit(edited);
    writeSafetensors(join(folder, "adapter_model.safetensors"), edited);
    return () => readAdapterTensors(folder, again);
  };

  test.each(["base_model.model.model.layers.1.self_attn.q_proj.lora_magnitude_vector", "base_model.model.lm_head.weight", "base_model.model.model.layers.0.self_attn.q_proj.base_layer.bias"])("missing: %s", (name) => {
    expect(change((tensors) => tensors.delete(name))).toThrow(`expected a tensor ${name}, got none of that name`);
  });

  test("surplus, and of another rank", () => {
    const path = "base_model.model.model.layers.0.self_attn";
    expect(change((tensors) => tensors.set(`${path}.v_proj.lora_A.weight`, must(tensors.get(`${path}.q_proj.lora_A.weight`), "A")))).toThrow(`a surplus tensor ${path}.v_proj.lora_A.weight`);
    const { again } = roundTrip({ ...saved, r: 4 });
    expect(() => readAdapterTensors(folder, again)).not.toThrow();
    expect(() => readAdapterTensors(folder, bindAdapter(adapterSchema.parse(saved), qwen2))).toThrow(`${path}.q_proj.lora_A.weight: expected shape [3, 16], got [4, 16]`);
  });

  test("but what PEFT repeats of the base is passed over", () => {
    const { tensors, again } = roundTrip({ r: 2, target_modules: ["lm_head"] });
    writeSafetensors(join(folder, "adapter_model.safetensors"), new Map([...tensors, ["base_model.model.lm_head.base_layer.weight", must(randomAdapter([{ name: "w", shape: [29, 16], start: () => new Float32Array(0) }]).get("w"), "w")]]));
    expect(readAdapterTensors(folder, again).parameters).toEqual(tensors);
    expect(existsSync(join(folder, "encoder.safetensors"))).toBe(false);
  });

  test("ensure_weight_tying asks for more than is here only beside modules that train whole", () => {
    roundTrip({ r: 2, target_modules: ["q_proj"] });
    const path = join(folder, "adapter_config.json");
    writeAdapterFile(path, { ensure_weight_tying: true });
    expect(readAdapterSettings(folder)).toMatchObject({ r: 2 });
    writeAdapterFile(path, { ensure_weight_tying: true, modules_to_save: ["lm_head"] });
    expect(() => readAdapterSettings(folder)).toThrow("ensure_weight_tying: expected false where there are modules_to_save, got true");
  });
});
