import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openTiny, TINY_CONFIGS } from "../../../test/support/tiny-models.ts";
import { randomAdapter, temporaryFolder } from "../../../test/support/tiny-training.ts";
import { tensor } from "../../core/base/tensor.ts";
import { writeSafetensors } from "../../core/formats/safetensors-writer.ts";
import { readAdapterSettings, readAdapterTensors, writeAdapterFolder } from "./adapter-folder.ts";
import { bindAdapter } from "./all.ts";
import { adapterSchema } from "./settings.ts";

const root = temporaryFolder();
const model = openTiny(TINY_CONFIGS.gpt2);

/** Writes an adapter with random tensors. */
function written(name: string, given: Readonly<Record<string, unknown>>) {
  const folder = join(root, name);
  const settings = adapterSchema.parse(given);
  const adapter = bindAdapter(settings, model);
  const parameters = randomAdapter(adapter.parameters);
  writeAdapterFolder(folder, { settings, model, baseModel: "some/model", parameters, frozen: new Map() });
  return { folder, settings, adapter, parameters };
}

function changeConfig(folder: string, changes: Readonly<Record<string, unknown>>): void {
  const path = join(folder, "adapter_config.json");
  writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, "utf8")) as object), ...changes }));
}

const METHODS = [
  ["bitfit", { method: "bitfit", biases: ["mlp", "ln_f"] }, { biases: ["mlp", "ln_f"] }],
  ["bottleneck", { method: "bottleneck", placement: "houlsby", size: 3, activation: "tanh" }, { placement: "houlsby", size: 3, activation: "tanh", reduction_factor: 16 }],
  ["full", { method: "full", freeze: "transformer.w.e" }, { freeze: "transformer.w.e" }],
] as const;

describe.each(METHODS)("a folder of %s", (method, given, fields) => {
  test("names a type that PEFT refuses, and the settings", () => {
    const { folder } = written(method, { ...given, init_from: "elsewhere" });
    expect(JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8"))).toMatchObject({ peft_type: `FEDTUNE_${method.toUpperCase()}`, base_model_name_or_path: "some/model", task_type: "CAUSAL_LM" });
    expect((JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8")) as { settings: unknown }).settings).toEqual(fields);
  });

  test("comes back with the same settings and bits, and written again is the same bytes", () => {
    const { folder, settings, parameters } = written(method, given);
    const read = readAdapterSettings(folder);
    expect(read).toEqual(settings);
    const tensors = readAdapterTensors(folder, bindAdapter(read, model));
    expect(tensors).toEqual({ parameters, frozen: new Map() });
    const again = join(root, `${method}-again`);
    writeAdapterFolder(again, { ...tensors, settings: read, model, baseModel: "some/model" });
    expect(readdirSync(again).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    for (const name of readdirSync(again)) expect(readFileSync(join(again, name)).equals(readFileSync(join(folder, name))), name).toBe(true);
  });

  test("is refused by name where a tensor is missing, surplus, of another shape or of another model", () => {
    const { folder, adapter, parameters } = written(method, given);
    const file = join(folder, "adapter_model.safetensors");
    const [first = ""] = parameters.keys();
    writeSafetensors(file, new Map([...parameters].filter(([name]) => name !== first)));
    expect(() => readAdapterTensors(folder, adapter)).toThrow(`${file}: expected a tensor ${first}, got none of that name.`);
    writeSafetensors(file, new Map([...parameters, ["lm_head.weight", tensor("float32", [1], Float32Array.of(3))]]));
    expect(() => readAdapterTensors(folder, adapter)).toThrow("a surplus tensor lm_head.weight");
    writeSafetensors(file, new Map([...parameters].map(([name, t]) => [name, name === first ? tensor("float32", [t.data.length, 1], t.data) : t])));
    expect(() => readAdapterTensors(folder, adapter)).toThrow(`${file}: ${first}: expected shape [`);
    writeSafetensors(file, parameters);
    const other = bindAdapter(readAdapterSettings(folder), openTiny({ ...TINY_CONFIGS.gpt2, n_embd: 20 }));
    expect(() => readAdapterTensors(folder, other)).toThrow(/: expected shape \[.*20.*\], got \[.*16.*\]/);
  });

  test("is refused by name where it says what is unknown", () => {
    const { folder } = written(method, given);
    const config = join(folder, "adapter_config.json");
    changeConfig(folder, { settings: { ...fields, colour: "red" } });
    expect(() => readAdapterSettings(folder)).toThrow(new RegExp(`^${config}: settings: .*colour`));
    changeConfig(folder, { settings: fields, scale: 3 });
    expect(() => readAdapterSettings(folder)).toThrow(`${config}: scale: expected fields that fedtune knows, got 3.`);
    changeConfig(folder, { scale: null, modules_to_save: ["lm_head"] });
    expect(() => readAdapterSettings(folder)).toThrow(`${config}: modules_to_save: expected null`);
    changeConfig(folder, { modules_to_save: null, peft_type: "FEDTUNE_BITFIX" });
    expect(() => readAdapterSettings(folder)).toThrow(/peft_type: expected a method that fedtune has \(.*\), got FEDTUNE_BITFIX\. Did you mean `FEDTUNE_BITFIT`\?/);
  });
});

test("a folder that leaves the settings out means their defaults", () => {
  const { folder } = written("bare", { method: "bottleneck" });
  changeConfig(folder, { settings: undefined });
  expect(readAdapterSettings(folder)).toEqual({ method: "bottleneck", placement: "pfeiffer", reduction_factor: 16, activation: "relu" });
});
