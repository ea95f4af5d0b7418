/** Reads a model's config.json and finds its architecture. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { didYouMean, FedtuneError, messageOf } from "../../core/base/errors.ts";

/** config.json of a model folder as an object. Throws FedtuneError("model") where it is missing or not JSON. */
export async function readModelConfig(folder: string): Promise<Readonly<Record<string, unknown>>> {
  const path = join(folder, "config.json");
  const remedy = "Give the folder of a Hugging Face model (config.json, tokenizer.json, *.safetensors)";
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new FedtuneError("model", { where: folder, expected: "a config.json that can be read", got: messageOf(cause), remedy, cause });
  }
  try {
    const value: unknown = JSON.parse(text);
    // Only the shape of the outermost value is relied on here; architectures check each field.
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return value as Record<string, unknown>;
    throw new Error(`a ${Array.isArray(value) ? "list" : typeof value}`);
  } catch (cause) {
    throw new FedtuneError("model", { where: path, expected: "a JSON object", got: messageOf(cause), remedy, cause });
  }
}

/** A config checked against an architecture's schema. Throws FedtuneError("model") that names the first field that does not fit. */
export function parseConfig<T extends z.ZodType>(schema: T, config: Readonly<Record<string, unknown>>, where: string): z.infer<T> {
  const result = schema.safeParse(config);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = issue?.path.join(".") ?? "";
  throw new FedtuneError("model", {
    where: `${where}: ${field}`,
    expected: issue?.message.replace(/^.*?expected /, "").replace(/, received .*$/, "") ?? "another value",
    got: JSON.stringify(config[String(issue?.path[0])]) ?? "nothing",
    remedy: "This model cannot be run as its config says",
  });
}

/** The peer of a record by `model_type`. Throws FedtuneError("model") with the list of those that exist. */
export function pickArchitecture<T>(architectures: Readonly<Record<string, T>>, config: Readonly<Record<string, unknown>>, where: string): T {
  const type = config["model_type"];
  const known = Object.keys(architectures);
  const found = typeof type === "string" && Object.hasOwn(architectures, type) ? architectures[type] : undefined;
  if (found !== undefined) return found;
  throw new FedtuneError("model", {
    where: `${where}: model_type`, expected: `an architecture that fedtune has (${known.join(", ")})`,
    got: typeof type === "string" ? `\`${type}\`` : "no model_type", remedy: typeof type === "string" ? didYouMean(type, known) : "",
  });
}

/** A positive integer of a config. */
export const count = z.int().positive();

/** 0 … n − 1. */
export function indices(n: number): readonly number[] {
  return Array.from({ length: n }, (_, i) => i);
}

/** A config whose fields may carry transformers' other names for them (its `attribute_map`) under the own names; another name wins, as there. */
export function withOwnNames(config: Readonly<Record<string, unknown>>, ownByOther: Readonly<Record<string, string>>): Readonly<Record<string, unknown>> {
  const renamed = Object.entries(ownByOther).flatMap(([other, own]) => (config[other] == null ? [] : [[own, config[other]] as const]));
  return { ...config, ...Object.fromEntries(renamed) };
}

/** Width of each head where the heads share the model's width; `where` names the field of their number. Throws FedtuneError("model") where they do not divide it. */
export function headWidthOf(width: number, heads: number, where: string): number {
  if (width % heads === 0) return width / heads;
  throw new FedtuneError("model", { where, expected: `heads that divide the model's width ${width}`, got: String(heads), remedy: "This model cannot be run as its config says" });
}

export interface AttentionFields {
  readonly hidden_size: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads?: number | null | undefined;
  readonly head_dim?: number | null | undefined;
}

/** Heads, key-value heads and head width as configs of the Llama family write them. Throws FedtuneError("model") where they do not fit. */
export function attentionSizes(config: AttentionFields, where: string): { readonly heads: number; readonly keyValueHeads: number; readonly headWidth: number } {
  const heads = config.num_attention_heads;
  const keyValueHeads = config.num_key_value_heads ?? heads;
  const headWidth = config.head_dim ?? config.hidden_size / heads;
  if (Number.isInteger(headWidth) && headWidth % 2 === 0 && heads % keyValueHeads === 0) return { heads, keyValueHeads, headWidth };
  throw new FedtuneError("model", {
    where: `${where}: num_attention_heads`, expected: "heads that divide hidden_size into even widths and are a multiple of num_key_value_heads",
    got: `${heads} heads, ${keyValueHeads} key-value heads, hidden_size ${config.hidden_size}`,
  });
}
