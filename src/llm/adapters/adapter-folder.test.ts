import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { TINY_CONFIG } from "../../../test/support/tiny-llama.ts";
import { randomAdapter, temporaryFolder } from "../../../test/support/tiny-training.ts";
import { FedtuneError } from "../../core/base/errors.ts";
import { tensor, type NamedTensors, type Tensor } from "../../core/base/tensor.ts";
import { float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from "../../core/formats/half.ts";
import { writeSafetensors } from "../../core/formats/safetensors-writer.ts";
import { openArchitecture } from "../architectures/all.ts";
import { llama } from "../architectures/llama.ts";
import { bindAdapter } from "./all.ts";
import { readAdapterSettings, readAdapterTensors, writeAdapterFolder } from "./adapter-folder.ts";
import { adapterSchema } from "./settings.ts";

const GOLDEN = "../shared/goldens/peft/stories260k.lora/adapter";
const root = temporaryFolder();
const folder = join(root, "adapter");
const model = llama.open(TINY_CONFIG, "test");
const settings = adapterSchema.parse({ r: 3, lora_alpha: 7.5, lora_dropout: 0.1, target_modules: ["q_proj", "down_proj"], rank_pattern: { q_proj: 2 }, alpha_pattern: { down_proj: 4 }, use_rslora: true });
const adapter = bindAdapter(settings, model);
const tensors = randomAdapter(adapter.parameters);

beforeEach(() => {
  rmSync(folder, { recursive: true, force: true });
  writeAdapterFolder(folder, { settings, model, baseModel: "some/model", parameters: tensors, frozen: new Map() });
});

/** Writes the exported config with some fields changed. */
function changeConfig(changes: Readonly<Record<string, unknown>>): void {
  const path = join(folder, "adapter_config.json");
  writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, "utf8")) as object), ...changes }));
}

/** The error that an action throws. */
function thrown(action: () => unknown): FedtuneError {
  try {
    action();
  } catch (error) {
    if (error instanceof FedtuneError) return error;
    throw error;
  }
  throw new Error("expected an error");
}

describe("an exported adapter", () => {
  test("comes back with the same settings and the same bits", () => {
    const read = readAdapterSettings(folder);
    expect(read).toEqual(settings);
    expect(readAdapterTensors(folder, bindAdapter(read, model))).toEqual({ parameters: tensors, frozen: new Map() });
  });

  test("exported again is the same files, byte for byte", () => {
    const read = readAdapterSettings(folder);
    const again = join(root, "again");
    writeAdapterFolder(again, { ...readAdapterTensors(folder, bindAdapter(read, model)), settings: read, model, baseModel: "some/model" });
    expect(readdirSync(again).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    for (const name of readdirSync(again)) expect(readFileSync(join(again, name)).equals(readFileSync(join(folder, name))), name).toBe(true);
  });

  test.each([["all-linear"], [".*layers\\.1\\..*_proj"]])("keeps target_modules as it was given: %s", (target_modules) => {
    changeConfig({ target_modules, rank_pattern: {} });
    expect(readAdapterSettings(folder)).toMatchObject({ target_modules });
  });
});

describe.skipIf(!existsSync(GOLDEN))(`an adapter that PEFT wrote (skipped where ${GOLDEN} is absent)`, () => {
  test("has the files, the config's keys and the bytes of tensors that fedtune writes", async () => {
    const stories = await openArchitecture("assets/stories260k");
    const read = readAdapterSettings(GOLDEN);
    const own = join(root, "like-peft");
    writeAdapterFolder(own, { ...readAdapterTensors(GOLDEN, bindAdapter(read, stories)), settings: read, model: stories, baseModel: "stories260k" });
    const config = (path: string): unknown => JSON.parse(readFileSync(join(path, "adapter_config.json"), "utf8"));
    const files = (path: string): string[] => readdirSync(path).filter((name) => name !== "README.md").sort();
    expect(files(own)).toEqual(files(GOLDEN));
    expect(config(own)).toEqual(config(GOLDEN));
    const bytes = (path: string): Buffer => readFileSync(join(path, "adapter_model.safetensors"));
    expect(bytes(own).equals(bytes(GOLDEN))).toBe(true);
  });
});

describe("importing tensors", () => {
  const write = (changed: NamedTensors): void => writeSafetensors(join(folder, "adapter_model.safetensors"), changed);
  const narrowed = (t: Tensor<"float32">, dtype: "float16" | "bfloat16"): Tensor => tensor(dtype, t.shape, dtype === "float16" ? float32ToFloat16(t.data) : float32ToBfloat16(t.data));
  const [first = ""] = tensors.keys();

  test("widens half precision", () => {
    write(new Map([...tensors].map(([name, t]) => [name, narrowed(t, "float16")])));
    const read = readAdapterTensors(folder, adapter).parameters;
    for (const [name, t] of tensors) expect(read.get(name)?.data).toEqual(float16ToFloat32(float32ToFloat16(t.data)));
    write(new Map([...tensors].map(([name, t]) => [name, narrowed(t, "bfloat16")])));
    const coarse = readAdapterTensors(folder, adapter).parameters;
    for (const [name, t] of tensors) t.data.forEach((x, i) => expect(Math.abs((coarse.get(name)?.data[i] ?? 0) - x)).toBeLessThanOrEqual(Math.abs(x) / 256));
  });

  test("refuses a missing and a surplus tensor by name", () => {
    write(new Map([...tensors].filter(([name]) => name !== first)));
    expect(thrown(() => readAdapterTensors(folder, adapter))).toMatchObject({ code: "model", message: `${folder}/adapter_model.safetensors: expected a tensor ${first}, got none of that name. The adapter belongs to another model or other settings.` });
    write(new Map([...tensors, ["base_model.model.lm_head.weight", tensor("float32", [1], Float32Array.of(3))]]));
    expect(thrown(() => readAdapterTensors(folder, adapter)).message).toContain("a surplus tensor base_model.model.lm_head.weight");
  });

  test("refuses another rank and another model's width by name and both shapes", () => {
    const wider = bindAdapter(adapterSchema.parse({ ...settings, rank_pattern: { q_proj: 5 } }), model);
    expect(thrown(() => readAdapterTensors(folder, wider)).message).toContain(`${first}: expected shape [5, 24], got [2, 24]`);
    const other = bindAdapter(settings, llama.open({ ...TINY_CONFIG, hidden_size: 36, head_dim: 4 }, "test"));
    expect(thrown(() => readAdapterTensors(folder, other)).message).toContain(`${first}: expected shape [2, 36], got [2, 24]`);
  });

  test("refuses whole numbers", () => {
    write(new Map([...tensors].map(([name, t]) => [name, name === first ? tensor("int32", t.shape, Int32Array.from(t.data)) : t])));
    expect(thrown(() => readAdapterTensors(folder, adapter)).message).toContain(`${first}: expected float32, float16 or bfloat16, got int32`);
  });

  test("refuses a folder without weights", () => {
    rmSync(join(folder, "adapter_model.safetensors"));
    expect(thrown(() => readAdapterTensors(folder, adapter)).message).toContain("adapter_model.safetensors");
  });
});

describe("reading adapter_config.json", () => {
  test.each([
    ["use_qalora", true, "use_qalora: expected false, got true"],
    ["bias", "some", "bias: expected"],
    ["modules_to_save", "lm_head", "modules_to_save: expected"],
    ["layers_to_transform", [-1], "layers_to_transform.0: expected"],
    ["exclude_modules", 3, "exclude_modules: expected"],
    ["init_lora_weights", "pissa_niter_4", 'init_lora_weights: expected true, gaussian, pissa, olora, got "pissa_niter_4"'],
    ["init_lora_weights", "loftq", "init_lora_weights: expected true, gaussian"],
    ["trainable_token_indices", [5], "trainable_token_indices: expected null, got [5]"],
    ["a_field_of_tomorrow", 7, "a_field_of_tomorrow: expected fields that fedtune knows, got 7"],
    ["lora_bias", true, "lora_bias: expected false, got true"],
    ["peft_type", "LOHA", "peft_type: expected a method that fedtune has ("],
    ["r", 0, "r: expected"],
    ["r", "8", "r: expected"],
    ["target_modules", null, "target_modules: expected"],
    ["lora_dropout", 1.5, "lora_dropout: expected"],
  ])("refuses %s = %j by the field's name", (field, value, message) => {
    changeConfig({ [field]: value });
    const error = thrown(() => readAdapterSettings(folder));
    expect(error.message).toContain(`adapter_config.json: ${message}`);
    expect(error.code).toBe("model");
  });

  test("takes what changes nothing: other defaults of other versions, empty collections, fields left out", () => {
    changeConfig({ peft_version: "0.9.0", inference_mode: false, fan_in_fan_out: true, init_lora_weights: "eva", a_field_of_tomorrow: false, modules_to_save: [], layers_pattern: "layers", auto_mapping: { x: 1 } });
    expect(readAdapterSettings(folder)).toEqual(settings);
    writeFileSync(join(folder, "adapter_config.json"), JSON.stringify({ peft_type: "LORA", r: 4, lora_alpha: 8, target_modules: ["q_proj"] }));
    expect(readAdapterSettings(folder)).toEqual(adapterSchema.parse({ r: 4, lora_alpha: 8, target_modules: ["q_proj"] }));
  });

  test("refuses a folder without one, and a file that is not JSON", () => {
    cpSync(folder, join(root, "broken"), { recursive: true });
    writeFileSync(join(root, "broken/adapter_config.json"), "{r: 8");
    expect(thrown(() => readAdapterSettings(join(root, "broken"))).message).toContain("broken/adapter_config.json: expected JSON, got ");
    expect(thrown(() => readAdapterSettings(join(root, "nowhere"))).message).toContain("nowhere: expected an adapter folder with adapter_config.json, got none.");
  });
});
