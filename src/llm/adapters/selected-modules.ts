/** Which of the modules that `target_modules` names an adapter really attaches to: by layer, less those that are excluded (PEFT's `check_target_module_exists`). */
import { z } from "zod";
import { FedtuneError, messageOf } from "../../core/base/errors.ts";
import type { ArchitectureModel, DefaultTargets } from "../architectures/architecture.ts";
import type { LinearModule } from "../architectures/sites.ts";
import { isInSavedModule } from "./saved-weights.ts";
import { matchesPath, resolveTargets, targetsOr } from "./targets.ts";

const names = z.union([z.string(), z.array(z.string())]);

export const selectionFields = {
  target_modules: z
    .union([z.string(), z.array(z.string()).min(1)])
    .optional()
    .describe("module names, the word all-linear, or a regular expression that matches whole module paths; left out: the attention's query and value projections"),
  exclude_modules: names.optional().describe("module names, or a regular expression of whole paths, to leave out of target_modules"),
  layers_to_transform: z.union([z.int().nonnegative(), z.array(z.int().nonnegative())]).optional().describe("layers to adapt, counted from 0, where target_modules is a list; left out: all"),
  layers_pattern: names.optional().describe("name of the list of layers in module paths (layers, h), where a path has several numbers"),
};

export interface ModuleSelection extends z.infer<z.ZodObject<typeof selectionFields>> {
  readonly modules_to_save: readonly string[];
}

const listOf = <T extends string | number>(x: T | readonly T[] | undefined): readonly T[] => (x === undefined ? [] : typeof x === "object" ? x : [x]);

/** The number after the first list of layers of this name in a path. */
function layerPattern(name: string): RegExp {
  try {
    return new RegExp(`^(?:|.*?\\.)(?:${name})\\.(\\d+)\\.`, "u");
  } catch (cause) {
    throw new FedtuneError("config", { where: "adapter.layers_pattern", expected: "a name or a regular expression", got: `\`${name}\` (${messageOf(cause)})`, cause });
  }
}

/** The layer that a module's path names, by the first number in it or after one of the patterns. */
function layerOf(path: string, patterns: readonly RegExp[]): number | undefined {
  const found = patterns.map((pattern) => pattern.exec(path)?.[1]).find((digits) => digits !== undefined);
  return found === undefined ? undefined : Number(found);
}

/**
 * The linear modules that the settings mean, in the model's order. As in PEFT, a module named by its whole path is adapted in
 * whatever layer it is, and no module inside one that is saved whole. Throws FedtuneError("config") where nothing is left, a
 * name matches nothing, a layer does not exist, or layers are chosen beside a `target_modules` that is no list.
 */
export function selectModules(settings: ModuleSelection, model: ArchitectureModel, kind: keyof DefaultTargets): readonly LinearModule[] {
  const targets = targetsOr(settings.target_modules, model, kind);
  const [layers, patterns] = [listOf(settings.layers_to_transform), listOf(settings.layers_pattern)];
  const refuse = (field: string, expected: string, got: string): FedtuneError => new FedtuneError("config", { where: `adapter.${field}`, expected, got });
  if (patterns.length > 0 && layers.length === 0) throw refuse("layers_pattern", "layers_to_transform beside it", "none");
  if (layers.length > 0 && typeof targets === "string") throw refuse("layers_to_transform", "target_modules that is a list of names", `\`${targets}\``);
  const beyond = layers.find((layer) => layer >= model.layers);
  if (beyond !== undefined) throw refuse("layers_to_transform", `layers 0 to ${model.layers - 1}`, String(beyond));
  const layerPatterns = patterns.length === 0 ? [/^.*?\.[^.]*\.(\d+)\./u] : patterns.map(layerPattern);
  const isInLayers = ({ path }: LinearModule): boolean => layers.length === 0 || targets.includes(path) || layers.includes(layerOf(path, layerPatterns) ?? -1);
  const excluded = settings.exclude_modules ?? [];
  const isExcluded = ({ path }: LinearModule): boolean => excluded.length > 0 && matchesPath(excluded, path, "exclude_modules");
  const selected = resolveTargets(targets, model.linears).filter((l) => !isExcluded(l) && !isInSavedModule(l.path, settings.modules_to_save) && isInLayers(l));
  if (selected.length === 0) throw refuse("target_modules", "modules that layers_to_transform, layers_pattern, exclude_modules and modules_to_save leave", "none");
  return selected;
}
