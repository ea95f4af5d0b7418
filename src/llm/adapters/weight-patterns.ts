/** Which tensors of the base a setting names: the rules of `target_modules`, for tensors and for whole modules. */
import { didYouMean, FedtuneError } from "../../core/base/errors.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { baseWeights, type BaseWeight } from "./replaced-weights.ts";
import { matchesPath, type Targets } from "./targets.ts";

/** A tensor's name and the paths of all modules around it. */
function pathsOf(name: string): readonly string[] {
  const parts = name.split(".");
  return parts.map((_, i) => parts.slice(0, i + 1).join("."));
}

/**
 * The tensors among `weights` that are named, or lie in a module that is: by a regular expression that matches a whole
 * path, or by names that equal a path or its end. A tensor that another is tied to answers to both names.
 * @param field where the pattern stands in the adapter's settings
 * @throws FedtuneError("config") where a name or the pattern matches none of them
 */
export function matchWeights(pattern: Targets, weights: readonly BaseWeight[], { model, field }: { readonly model: ArchitectureModel; readonly field: string }): ReadonlySet<string> {
  const aliases = [...model.tied];
  const paths = new Map(weights.map(({ name }) => [name, [name, ...aliases.flatMap(([alias, of]) => (of === name ? [alias] : []))].flatMap(pathsOf)]));
  const found = new Set<string>();
  for (const part of typeof pattern === "string" ? [pattern] : pattern.map((name) => [name])) {
    const named = [...paths].filter(([, own]) => own.some((path) => matchesPath(part, path, field))).map(([name]) => name);
    if (named.length === 0) {
      const ends = [...new Set([...paths.values()].flat().map((path) => path.split(".").at(-1) ?? path))].filter((end) => !/^\d+$/.test(end));
      const got = String(part);
      throw new FedtuneError("config", { where: `adapter.${field}`, expected: `names of modules or tensors (${ends.join(", ")}), or a regular expression of whole paths`, got: `\`${got}\`, which matches none`, remedy: didYouMean(got, ends) });
    }
    for (const name of named) found.add(name);
  }
  return found;
}

/** The biases of a model: of its linear modules and its norms. */
export function biasesOf(model: ArchitectureModel): readonly BaseWeight[] {
  return baseWeights(model).filter(({ name }) => name.endsWith(".bias"));
}
