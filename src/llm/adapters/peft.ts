/** Adapters in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`, in and out. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { FedtuneError, messageOf } from "../../core/base/errors.ts";
import { formatShape, sameShape, tensor } from "../../core/base/tensor.ts";
import type { NamedTensors, Tensor } from "../../core/base/tensor.ts";
import { bfloat16ToFloat32, float16ToFloat32 } from "../../core/formats/half.ts";
import { readSafetensors } from "../../core/formats/safetensors.ts";
import { writeSafetensors } from "../../core/formats/safetensors-writer.ts";
import { ensureWritableFolder, writeFileAtomic } from "../../core/store/files.ts";
import type { BoundAdapter } from "./adapter.ts";
import { adapterSchema } from "./settings.ts";
import type { AdapterSettings } from "./settings.ts";

const CONFIG_FILE = "adapter_config.json";
const TENSORS_FILE = "adapter_model.safetensors";

/** What PEFT 0.21 writes for a plain LoRA; a field that a file sets otherwise is one that fedtune does not have. */
const PEFT_DEFAULTS = {
  alora_invocation_tokens: null, arrow_config: null, auto_mapping: null, bias: "none", corda_config: null, ensure_weight_tying: false, eva_config: null,
  exclude_modules: null, fan_in_fan_out: false, inference_mode: true, init_lora_weights: true, kasa_config: null, layer_replication: null, layers_pattern: null,
  layers_to_transform: null, loftq_config: {}, lora_bias: false, lora_ga_config: null, megatron_config: null, megatron_core: "megatron.core",
  modules_to_save: null, monteclora_config: null, peft_version: "0.21.2", qalora_group_size: 16, revision: null, target_parameters: null,
  trainable_token_indices: null, use_bdlora: null, use_dora: false, use_qalora: false, velora_config: null,
} as const;

/** Fields whose value does not change what the adapter computes when it is applied. */
const WITHOUT_EFFECT = new Set(["auto_mapping", "inference_mode", "init_lora_weights", "peft_version", "revision", "megatron_core", "qalora_group_size", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "ensure_weight_tying", "layers_pattern"]);

const peftConfigSchema = z.looseObject({
  r: z.int().positive(),
  lora_alpha: z.number().positive(),
  lora_dropout: z.number().min(0).max(1).default(0),
  target_modules: z.union([z.string(), z.array(z.string())]),
  use_rslora: z.boolean().default(false),
  rank_pattern: z.record(z.string(), z.int().positive()).nullish(),
  alpha_pattern: z.record(z.string(), z.number().positive()).nullish(),
});

/** The settings as PEFT writes them, keys sorted. */
function toPeftConfig(settings: AdapterSettings, baseModel: string): Readonly<Record<string, unknown>> {
  const { r, lora_alpha, lora_dropout, target_modules, use_rslora, rank_pattern, alpha_pattern } = settings;
  const config = { ...PEFT_DEFAULTS, alpha_pattern, base_model_name_or_path: baseModel, lora_alpha, lora_dropout, peft_type: "LORA", r, rank_pattern, target_modules, task_type: "CAUSAL_LM", use_rslora };
  return Object.fromEntries(Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Writes an adapter folder that PEFT loads. Throws FedtuneError("resources") where it cannot be written. */
export function exportPeftAdapter(folder: string, tensors: NamedTensors<"float32">, settings: AdapterSettings, baseModel: string): void {
  ensureWritableFolder(folder);
  writeSafetensors(join(folder, TENSORS_FILE), tensors, { format: "pt" });
  writeFileAtomic(join(folder, CONFIG_FILE), `${JSON.stringify(toPeftConfig(settings, baseModel), null, 2)}\n`);
}

/** The settings of an adapter folder. Throws FedtuneError("model") that names a field fedtune cannot honour. */
export function readPeftSettings(folder: string): AdapterSettings {
  const path = join(folder, CONFIG_FILE);
  const remedy = "Give the folder of a PEFT LoRA adapter";
  if (!existsSync(path)) throw new FedtuneError("model", { where: folder, expected: `an adapter folder with ${CONFIG_FILE}`, got: "none", remedy });
  let raw: unknown;
  try {
    raw = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new FedtuneError("model", { where: path, expected: "JSON", got: messageOf(cause), remedy, cause });
  }
  const kind = z.looseObject({ peft_type: z.string() }).safeParse(raw).data?.peft_type ?? "none";
  if (kind !== "LORA") throw new FedtuneError("model", { where: `${path}: peft_type`, expected: "LORA", got: kind, remedy: "This adapter method is not supported yet" });
  const parsed = peftConfigSchema.safeParse(raw);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new FedtuneError("model", { where: `${path}: ${issue?.path.join(".") ?? ""}`, expected: "the fields of a LoRA adapter", got: issue?.message ?? "something else", remedy });
  }
  const config = parsed.data;
  for (const [field, value] of Object.entries(PEFT_DEFAULTS)) {
    const got = config[field];
    const empty = got == null || (typeof got === "object" && Object.keys(got).length === 0);
    if (!WITHOUT_EFFECT.has(field) && !empty && JSON.stringify(got) !== JSON.stringify(value)) {
      throw new FedtuneError("model", { where: `${path}: ${field}`, expected: JSON.stringify(value), got: JSON.stringify(got), remedy: "This variant of LoRA is not supported yet" });
    }
  }
  const { r, lora_alpha, lora_dropout, target_modules, use_rslora, rank_pattern, alpha_pattern } = config;
  return adapterSchema.parse({ method: "lora", r, lora_alpha, lora_dropout: Math.min(lora_dropout, 0.99), target_modules, use_rslora, rank_pattern: rank_pattern ?? {}, alpha_pattern: alpha_pattern ?? {} });
}

function widen(t: Tensor, where: string): Float32Array {
  // The dtype tag says which array `data` is; TypeScript does not narrow a generic tensor by it.
  if (t.dtype === "float32") return t.data as Float32Array;
  if (t.dtype === "float16") return float16ToFloat32(t.data as Uint16Array);
  if (t.dtype === "bfloat16") return bfloat16ToFloat32(t.data as Uint16Array);
  throw new FedtuneError("model", { where, expected: "float32, float16 or bfloat16", got: t.dtype });
}

/** The tensors of an adapter folder, checked against what `adapter` declares. Throws FedtuneError("model") that names what does not fit. */
export function importPeftTensors(folder: string, adapter: BoundAdapter): NamedTensors<"float32"> {
  const path = join(folder, TENSORS_FILE);
  const { tensors } = readSafetensors(path);
  const remedy = "The adapter belongs to another model or other settings";
  const known = [...adapter.parameters, ...adapter.baseCopies];
  for (const [name, { shape }] of tensors) {
    if (!known.some((p) => p.name === name && (!adapter.baseCopies.includes(p) || sameShape(p.shape, shape)))) throw new FedtuneError("model", { where: path, expected: "only tensors that the adapter's settings and this model call for", got: `a surplus tensor ${name}`, remedy });
  }
  return new Map(
    adapter.parameters.map(({ name, shape }): [string, Tensor<"float32">] => {
      const found = tensors.get(name);
      if (found === undefined) throw new FedtuneError("model", { where: path, expected: `a tensor ${name}`, got: "none of that name", remedy });
      if (!sameShape(found.shape, shape)) throw new FedtuneError("model", { where: `${path}: ${name}`, expected: `shape ${formatShape(shape)}`, got: formatShape(found.shape), remedy });
      return [name, tensor("float32", shape, widen(found, `${path}: ${name}`))];
    }),
  );
}
