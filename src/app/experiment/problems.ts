/** What is wrong with a config, as sentences: the path, the value, what is allowed, and the nearest name. */
import type { z } from "zod";
import { didYouMean, FedtuneError } from "../../core/base/errors.ts";
import { fieldNames } from "./json-schema.ts";

/** One thing that is wrong. */
interface Problem {
  readonly path: readonly PropertyKey[];
  readonly expected: string;
  readonly got: string;
  readonly remedy: string;
}

/** Says where a field stands: its file and line, as far as that is known. */
export type Locate = (path: readonly PropertyKey[]) => string;

const MAX_LINES = 3;

/**
 * One error for all that is wrong with `input`, of at most three lines; `details.problems` has them all.
 * @param locate the place of a path, such as "experiment.yaml:3: data.path"
 */
export function configError(issues: readonly z.core.$ZodIssue[], input: unknown, locate: Locate): FedtuneError {
  // Misspelt fields first: they are the reason why others are missing.
  const problems = issues.toSorted((a, b) => rank(a) - rank(b)).flatMap((issue) => describe(issue, input));
  const errors = problems.map(({ path, expected, got, remedy }) => new FedtuneError("config", { where: locate(path), expected, got, remedy }).message.trimEnd());
  const [first] = problems;
  if (first === undefined) throw new Error("a config error without an issue");
  const shown = errors.slice(1, errors.length > MAX_LINES ? MAX_LINES - 1 : MAX_LINES);
  const rest = errors.length > MAX_LINES ? [`… and ${errors.length - MAX_LINES + 1} more`] : [];
  const remedy = [first.remedy.replace(/([^.?])$/, "$1."), ...shown, ...rest].join("\n");
  return new FedtuneError("config", { where: locate(first.path), expected: first.expected, got: first.got, ...(remedy !== "" && { remedy }), details: { problems: errors } });
}

function rank(issue: z.core.$ZodIssue): number {
  return issue.code === "unrecognized_keys" ? 0 : 1;
}

function describe(issue: z.core.$ZodIssue, input: unknown): readonly Problem[] {
  const { path } = issue;
  const value = valueAt(input, path);
  const got = value === undefined ? "nothing" : `\`${JSON.stringify(value)}\``;
  const problem = (expected: string, remedy = ""): Problem => ({ path, expected, got, remedy });
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => unknownField([...path, key]));
    case "invalid_union":
      return [inUnion(issue, { value, problem })];
    case "invalid_value":
      return [problem(issue.values.map(String).join(", "), nearestOf(value, issue.values))];
    case "invalid_type":
      return [problem(typeName(issue.expected), value === undefined ? `Add the field \`${path.join(".")}\`` : "")];
    case "too_small":
      return [problem(bound(issue.origin, issue.inclusive === true ? "at least" : "more than", issue.minimum))];
    case "too_big":
      return [problem(bound(issue.origin, issue.inclusive === true ? "at most" : "less than", issue.maximum))];
    default:
      return [problem(issue.message.replace(/^Invalid input: expected |^expected /, ""))];
  }
}

function unknownField(path: readonly PropertyKey[]): Problem {
  const known = fieldNames(path.slice(0, -1));
  const name = String(path.at(-1));
  const inside = path.length > 1 ? ` of \`${path.slice(0, -1).join(".")}\`` : "";
  return { path, expected: `a field${inside} that exists`, got: `\`${name}\``, remedy: didYouMean(name, known) || `Known here: ${known.join(", ")}` };
}

function inUnion(issue: z.core.$ZodIssueInvalidUnion, { value, problem }: { readonly value: unknown; readonly problem: (expected: string, remedy?: string) => Problem }): Problem {
  // Zod lists a discriminated union's options in the issue, but not in its type.
  const options: unknown = Reflect.get(issue, "options");
  if (Array.isArray(options)) {
    const names: readonly unknown[] = options;
    return problem(names.map(String).join(", "), nearestOf(value, names));
  }
  const inner = issue.errors.flatMap((branch) => branch.slice(0, 1).flatMap((first) => describe(first, value)));
  return problem([...new Set(inner.map(({ expected }) => expected))].join(" or ") || "another value");
}

function nearestOf(value: unknown, options: readonly unknown[]): string {
  return typeof value === "string" ? didYouMean(value, options.map(String)) : "";
}

function typeName(expected: string): string {
  const names: Readonly<Record<string, string>> = { int: "a whole number", number: "a number", string: "a text", boolean: "true or false", array: "a list", object: "an object with fields", tuple: "a list" };
  return names[expected] ?? expected;
}

function bound(origin: string, relation: string, limit: number | bigint): string {
  const unit: Readonly<Record<string, string>> = { string: " characters", array: " items" };
  return origin === "number" || origin === "int" ? `a number of ${relation} ${limit}` : `${relation} ${limit}${unit[origin] ?? ""}`;
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input;
  for (const key of path) value = typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
  return value;
}
