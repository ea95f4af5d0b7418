/** The part of the config that adapters own, with PEFT's names and meaning. */
import { z } from "zod";

/** All adapter methods; today LoRA. */
export const adapterSchema = z.strictObject({
  method: z.literal("lora").default("lora").describe("adapter method"),
  r: z.int().positive().default(8).describe("rank"),
  lora_alpha: z.number().positive().default(16).describe("scaling numerator: the update is scaled by lora_alpha / r"),
  lora_dropout: z.number().min(0).max(0.99).default(0).describe("dropout on the input of the A matrix"),
  target_modules: z
    .union([z.string(), z.array(z.string()).min(1)])
    .default(["q_proj", "v_proj"])
    .describe("module names, the word all-linear, or a regular expression that matches whole module paths"),
  use_rslora: z.boolean().default(false).describe("scale by lora_alpha / sqrt(r) instead (Kalajdzievski 2023)"),
  rank_pattern: z.record(z.string(), z.int().positive()).default({}).describe("rank by module name or pattern, where it differs from r"),
  alpha_pattern: z.record(z.string(), z.number().positive()).default({}).describe("lora_alpha by module name or pattern, where it differs"),
  init_from: z.string().optional().describe("folder of a PEFT adapter to start from"),
});
export type LoraSettings = z.infer<typeof adapterSchema>;

export type AdapterSettings = LoraSettings;
