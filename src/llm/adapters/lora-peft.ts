/** LoRA's part of adapter_config.json, for the methods that PEFT keeps under the type LORA. */
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { SharedLoraSettings } from "./lora-modules.ts";
import type { PeftFields } from "./peft-config.ts";
import { selectModules } from "./selected-modules.ts";
import { targetsOr } from "./targets.ts";

/** Settings in the form that adapter_config.json holds. */
export interface PeftLora extends SharedLoraSettings {
  readonly init_lora_weights: true | string;
}

/** What PEFT 0.21 writes for fields that fedtune does not have; a file that sets one otherwise means something else. */
const PEFT_DEFAULTS = {
  alora_invocation_tokens: null, arrow_config: null, corda_config: null, ensure_weight_tying: false, eva_config: null,
  kasa_config: null, layer_replication: null, loftq_config: {}, lora_bias: false, lora_ga_config: null, megatron_config: null, megatron_core: "megatron.core",
  monteclora_config: null, qalora_group_size: 16, target_parameters: null,
  trainable_token_indices: null, use_bdlora: null, use_qalora: false, velora_config: null,
} as const;

/** Of those, what does not change what the adapter computes when it is applied. */
const WITHOUT_EFFECT = ["megatron_core", "qalora_group_size", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "ensure_weight_tying"];

/** Starts of PEFT's that leave the base as it is: once trained, an adapter does not differ for them. */
const STARTS_WITHOUT_EFFECT = ["eva", "orthogonal", "mica"];

const names = z.union([z.string(), z.array(z.string())]).nullish();
const peftSchema = z.looseObject({
  r: z.int().positive(),
  lora_alpha: z.number().positive(),
  lora_dropout: z.number().min(0).max(1).default(0),
  target_modules: z.union([z.string(), z.array(z.string()).min(1)]),
  exclude_modules: names,
  layers_to_transform: z.union([z.int().nonnegative(), z.array(z.int().nonnegative())]).nullish(),
  layers_pattern: names,
  use_rslora: z.boolean().default(false),
  use_dora: z.boolean().default(false),
  rank_pattern: z.record(z.string(), z.int().positive()).nullish(),
  alpha_pattern: z.record(z.string(), z.number().positive()).nullish(),
  bias: z.enum(["none", "all", "lora_only"]).default("none"),
  modules_to_save: z.array(z.string()).nullish(),
  init_lora_weights: z.union([z.boolean(), z.string()]).nullish(),
  fan_in_fan_out: z.boolean().default(false),
});

/** Every field of LoRA's. Throws FedtuneError("config") where the settings do not fit the model. */
export function writePeftLora(settings: PeftLora, model: ArchitectureModel, { use_dora }: { readonly use_dora: boolean }): Readonly<Record<string, unknown>> {
  const { r, lora_alpha, lora_dropout, exclude_modules = null, layers_to_transform = null, layers_pattern = null, use_rslora, rank_pattern, alpha_pattern, bias, modules_to_save, init_lora_weights } = settings;
  // PEFT corrects it by itself where it is wrong, but warns.
  const fan_in_fan_out = selectModules(settings, model, "lowRank").some((l) => l.layout === "in_out");
  return {
    ...PEFT_DEFAULTS, use_dora, r, lora_alpha, lora_dropout, target_modules: targetsOr(settings.target_modules, model, "lowRank"), exclude_modules, layers_to_transform, layers_pattern,
    use_rslora, rank_pattern, alpha_pattern, bias, modules_to_save: modules_to_save.length === 0 ? null : modules_to_save, init_lora_weights, fan_in_fan_out,
  };
}

/** A list or name that is there and not empty. */
const given = <T extends string | number | readonly unknown[]>(x: T | null | undefined): x is T => x != null && (typeof x === "number" || x.length > 0);

/**
 * The settings of a file, or undefined where it means another of the methods that share the type.
 * @param starts starts that the method has beside `true`
 * @throws FedtuneError("model") that names a field fedtune cannot honour or does not know
 */
export function readPeftLora(fields: PeftFields, method: { readonly use_dora: boolean; readonly starts: readonly string[] }): PeftLora | undefined {
  if ((fields.get("use_dora") === true) !== method.use_dora) return undefined;
  const file = fields.parse(peftSchema);
  fields.refuseOthers(PEFT_DEFAULTS, [...WITHOUT_EFFECT, "modules_to_save"]);
  fields.refuseUnknown([...Object.keys(peftSchema.shape), ...Object.keys(PEFT_DEFAULTS)]);
  const start = typeof file.init_lora_weights === "string" ? file.init_lora_weights.toLowerCase() : true;
  const init_lora_weights = typeof start === "string" && STARTS_WITHOUT_EFFECT.includes(start) ? true : start;
  const refuse = (field: string, expected: string, got: unknown): FedtuneError => new FedtuneError("model", { where: fields.where(field), expected, got: JSON.stringify(got), remedy: "This variant of the method is not supported" });
  if (init_lora_weights !== true && !method.starts.includes(init_lora_weights)) throw refuse("init_lora_weights", ["true", ...method.starts].join(", "), file.init_lora_weights);
  if (fields.get("ensure_weight_tying") === true && given(file.modules_to_save)) throw refuse("ensure_weight_tying", "false where there are modules_to_save", true);
  return {
    r: file.r, lora_alpha: file.lora_alpha, lora_dropout: Math.min(file.lora_dropout, 0.99), target_modules: file.target_modules, use_rslora: file.use_rslora,
    rank_pattern: file.rank_pattern ?? {}, alpha_pattern: file.alpha_pattern ?? {}, bias: file.bias, modules_to_save: file.modules_to_save ?? [], init_lora_weights,
    ...(given(file.exclude_modules) ? { exclude_modules: file.exclude_modules } : {}),
    // A pattern alone chooses nothing.
    ...(given(file.layers_to_transform) ? { layers_to_transform: file.layers_to_transform, ...(given(file.layers_pattern) ? { layers_pattern: file.layers_pattern } : {}) } : {}),
  };
}
