/** Which modules an adapter attaches to, by PEFT's rules. */
import { didYouMean, FedtuneError, messageOf } from "../../core/base/errors.ts";
import type { ArchitectureModel, DefaultTargets } from "../architectures/architecture.ts";
import type { LinearModule } from "../architectures/sites.ts";

/** Module names, the word all-linear, or a regular expression of whole paths. */
export type Targets = string | readonly string[];

function compile(pattern: string, field: string, whole: (pattern: string) => string): RegExp {
  try {
    return new RegExp(whole(pattern), "u");
  } catch (cause) {
    throw new FedtuneError("config", { where: `adapter.${field}`, expected: "module names or a regular expression", got: `\`${pattern}\` (${messageOf(cause)})`, cause });
  }
}

/**
 * Whether a regular expression matches the whole of `path`, or one of several names equals it or its end.
 * Throws FedtuneError("config") that names the field where the expression is none.
 */
export function matchesPath(target: Targets, path: string, field: string): boolean {
  if (typeof target === "string") return compile(target, field, (p) => `^(?:${p})$`).test(path);
  return target.some((name) => path === name || path.endsWith(`.${name}`));
}

/** Last parts of module paths: `q_proj`, `lm_head`, … */
function moduleNames(linears: readonly LinearModule[]): string[] {
  return [...new Set(linears.map((l) => l.path.split(".").at(-1) ?? l.path))];
}

/** What a setting says, or else the architecture's own default. */
export function targetsOr(setting: Targets | undefined, { defaultTargets }: ArchitectureModel, kind: keyof DefaultTargets): Targets {
  return setting ?? defaultTargets[kind];
}

/**
 * The linear modules that `target_modules` means: `all-linear` (all but the output embedding), a regular expression
 * that matches whole paths, or names that equal a path or its end.
 * Throws FedtuneError("config") where a name or the pattern matches nothing.
 */
export function resolveTargets(target: Targets, linears: readonly LinearModule[]): readonly LinearModule[] {
  if (target === "all-linear") return linears.filter((l) => !l.isHead);
  const names = moduleNames(linears);
  const nothing = (got: string, hint: string): FedtuneError =>
    new FedtuneError("config", { where: "adapter.target_modules", expected: `modules that the model has (${names.join(", ")}) or all-linear`, got: `\`${got}\`, which matches none`, remedy: hint });
  if (typeof target === "string") {
    const found = linears.filter((l) => matchesPath(target, l.path, "target_modules"));
    if (found.length === 0) throw nothing(target, didYouMean(target, [...names, "all-linear"]));
    return found;
  }
  for (const name of target) {
    if (!linears.some((l) => matchesPath([name], l.path, "target_modules"))) throw nothing(name, didYouMean(name, names));
  }
  return linears.filter((l) => matchesPath(target, l.path, "target_modules"));
}

/** The value of the first pattern that matches a path or its end, as PEFT's `rank_pattern` and `alpha_pattern`. */
export function patternValue(patterns: Readonly<Record<string, number>>, path: string, field: string): number | undefined {
  for (const [pattern, value] of Object.entries(patterns)) {
    if (compile(pattern, field, (p) => `^(?:.*\\.)?(?:${p})$`).test(path)) return value;
  }
  return undefined;
}
