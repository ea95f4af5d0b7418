/** `adapter_config.json`: the fields that all methods share, and reading the others so that none is passed over. */
import type { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";

/** PEFT's prefix of every saved tensor that belongs to a module. */
export const PEFT_PREFIX = "base_model.model.";

/** Fields of every method, as PEFT 0.21 writes them. */
export const SHARED_FIELDS = { auto_mapping: null, inference_mode: true, modules_to_save: null, peft_version: "0.21.2", revision: null } as const;
const SHARED_WITHOUT_EFFECT = ["auto_mapping", "inference_mode", "peft_version", "revision"];

/** The fields of one adapter_config.json. */
export class PeftFields {
  readonly #path: string;
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(path: string, fields: Readonly<Record<string, unknown>>) {
    this.#path = path;
    this.#fields = fields;
  }

  get(field: string): unknown {
    return this.#fields[field];
  }

  /** The field for errors: file and name. */
  where(field: string): string {
    return `${this.#path}: ${field}`;
  }

  /** The fields of a schema. Throws FedtuneError("model") that names the first that does not fit. */
  parse<T extends z.ZodType>(schema: T): z.infer<T> {
    const parsed = schema.safeParse(this.#fields);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    const field = issue?.path.join(".") ?? "";
    throw new FedtuneError("model", { where: `${this.#path}: ${field}`, expected: `the fields of a ${String(this.get("peft_type"))} adapter`, got: issue?.message ?? "something else", remedy: "Give the folder of an adapter that PEFT or fedtune has written" });
  }

  /** Throws FedtuneError("model") for a field that is neither at its default nor without effect: what it asks for is not here. */
  refuseOthers(defaults: Readonly<Record<string, unknown>>, withoutEffect: readonly string[]): void {
    for (const [field, value] of Object.entries({ ...SHARED_FIELDS, ...defaults })) {
      const got = this.#fields[field];
      const empty = got == null || (typeof got === "object" && Object.keys(got).length === 0);
      if (withoutEffect.includes(field) || SHARED_WITHOUT_EFFECT.includes(field) || empty || JSON.stringify(got) === JSON.stringify(value)) continue;
      throw new FedtuneError("model", { where: `${this.#path}: ${field}`, expected: JSON.stringify(value), got: JSON.stringify(got), remedy: "This variant of the method is not supported" });
    }
  }

  /** Throws FedtuneError("model") for a field that is neither among `known`, nor of every method, nor off: what it asks for is not here. */
  refuseUnknown(known: readonly string[]): void {
    const expected = new Set([...known, ...Object.keys(SHARED_FIELDS), "peft_type", "task_type", "base_model_name_or_path"]);
    for (const [field, value] of Object.entries(this.#fields)) {
      const off = value == null || value === false || (typeof value === "object" && Object.keys(value).length === 0);
      if (off || expected.has(field)) continue;
      throw new FedtuneError("model", { where: this.where(field), expected: "fields that fedtune knows", got: JSON.stringify(value), remedy: "The adapter is of a method, or of a PEFT, that is not supported" });
    }
  }
}
