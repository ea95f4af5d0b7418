/** Settings that several benchmarks have, and what is said about those that do not fit. */
import { z } from "zod";
import { didYouMean, FedtuneError } from "../../core/base/errors.ts";
import type { Prompt } from "./benchmark.ts";

/** Which protocol is followed: fedtune's own, or the reference system's to the letter. */
export const compatField = z.enum(["none", "fsllm"]).default("none").describe("fsllm: the protocol of FederatedScope-LLM to the letter, its faults included");

/** A file of one's own in place of the built-in one. */
export const pathField = z.string().min(1).optional().describe("a file of your own in place of the benchmark's");

/** How many demonstrations stand before a question, and what happens where they do not fit. */
export function shotFields(shots: number) {
  return {
    shots: z.int().min(0).max(shots).default(shots).describe("demonstrations before each question"),
    overflow: z.enum(["auto", "error", "drop-shots"]).default("auto").describe("where the demonstrations do not fit the model's context: an error, or the last ones dropped one at a time; auto: an error, dropped under compat: fsllm"),
  };
}

/** What happens where the demonstrations do not fit. */
export function overflowOf({ overflow, compat }: { readonly overflow: "auto" | Prompt["overflow"]; readonly compat: "none" | "fsllm" }): Prompt["overflow"] {
  return overflow !== "auto" ? overflow : compat === "fsllm" ? "drop-shots" : "error";
}

/** How answers are written. */
export function writingFields(maxNewTokens: number) {
  return { max_new_tokens: z.int().positive().default(maxNewTokens).describe("longest answer in tokens") };
}

/**
 * Checks a benchmark's settings.
 * @throws FedtuneError("config") naming the field, its value, what is allowed and the nearest name
 */
export function checkSettings<Settings>(name: string, schema: z.ZodType<Settings>, given: unknown): Settings {
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  // A misspelt field is the reason why others are missing.
  const issue = parsed.error.issues.toSorted((a, b) => Number(b.code === "unrecognized_keys") - Number(a.code === "unrecognized_keys"))[0];
  if (issue === undefined) throw parsed.error;
  const where = [name, ...issue.path.map(String)].join(".");
  if (issue.code === "unrecognized_keys") {
    const field = issue.keys[0] ?? "";
    const known = fieldNames(schema, issue.path);
    throw new FedtuneError("config", { where: `${where}.${field}`, expected: `a setting of ${name} that exists`, got: `\`${field}\``, remedy: didYouMean(field, known) || `Known here: ${known.join(", ")}` });
  }
  const value = issue.path.reduce((at: unknown, key) => (typeof at === "object" && at !== null ? (Reflect.get(at, key) as unknown) : undefined), given);
  throw new FedtuneError("config", { where, expected: expectation(issue), got: value === undefined ? "nothing" : `\`${JSON.stringify(value)}\``, ...(value === undefined ? { remedy: `Add ${where}=…` } : {}) });
}

function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_value":
      return `one of ${issue.values.map(String).join(", ")}`;
    case "too_small":
      return issue.origin === "string" ? "some text" : `at least ${issue.minimum}`;
    case "too_big":
      return `at most ${issue.maximum}`;
    case "invalid_type":
      return issue.expected === "string" ? "a text" : issue.expected === "int" ? "a whole number" : `a ${issue.expected}`;
    default:
      return issue.message.replace(/^(Invalid input: )?expected /, "");
  }
}

/** The fields of the object at a path of a schema, as its JSON Schema lists them. */
export function fieldNames(schema: z.ZodType, path: readonly PropertyKey[] = []): readonly string[] {
  let at: unknown = z.toJSONSchema(schema, { io: "input" });
  for (const key of ["properties", ...path.flatMap((name) => [name, "properties"])]) at = typeof at === "object" && at !== null ? (Reflect.get(at, key) as unknown) : undefined;
  return typeof at === "object" && at !== null ? Object.keys(at) : [];
}
