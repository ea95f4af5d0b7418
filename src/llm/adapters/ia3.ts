/**
 * (IA)³ (Liu et al. 2022, section 3.3): learned vectors rescale activations. The output of a module, its bias included,
 * becomes l ⊙ (W x + b); a module that ends a feed-forward takes W (l ⊙ x) + b instead. l starts at 1.
 */
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { LinearModule } from "../architectures/sites.ts";
import { commonFields, type AdapterMethod, type AdapterTensors, type BoundAdapter, type MergeRule } from "./adapter.ts";
import { withBias } from "./linear-change.ts";
import { PEFT_PREFIX } from "./peft-config.ts";
import { savedWeightFields, savedWeights } from "./saved-weights.ts";
import { selectionFields, selectModules } from "./selected-modules.ts";
import { constantStart, normalStart } from "./starts.ts";
import { matchesPath, targetsOr, type Targets } from "./targets.ts";

const names = z.union([z.string(), z.array(z.string())]);

const schema = z.strictObject({
  method: z.literal("ia3").describe("adapter method"),
  target_modules: selectionFields.target_modules.describe("module names, the word all-linear, or a regular expression that matches whole module paths; left out: what PEFT takes for the architecture (llama: k_proj, v_proj, down_proj)"),
  exclude_modules: selectionFields.exclude_modules,
  feedforward_modules: names.optional().describe("those of target_modules whose input is rescaled in place of their output; left out: the feed-forward's last projection"),
  init_ia3_weights: z.boolean().default(true).describe("start from 1, so that the model is the base; else from normal draws"),
  modules_to_save: savedWeightFields.modules_to_save,
  ...commonFields,
});
type Ia3Settings = z.infer<typeof schema>;

/** What the settings mean for a model. */
interface Ia3Targets {
  readonly targets: Targets;
  readonly feedForward: Targets;
  readonly linears: readonly LinearModule[];
}

interface Ia3Module {
  readonly linear: LinearModule;
  readonly name: string;
  readonly rescales: "input" | "output";
}

/** Whether PEFT takes a path for a feed-forward: unlike target_modules, a name counts where it ends a word. */
function isFeedForward(path: string, feedForward: Targets): boolean {
  return typeof feedForward === "string" ? matchesPath(feedForward, path, "feedforward_modules") : feedForward.some((name) => path.endsWith(name));
}

/** Throws FedtuneError("config") where a name or pattern matches nothing. */
function resolveIa3(settings: Ia3Settings, model: ArchitectureModel): Ia3Targets {
  const linears = selectModules(settings, model, "rescaled");
  const given = settings.feedforward_modules;
  for (const part of given === undefined ? [] : typeof given === "string" ? [given] : given.map((name) => [name])) {
    if (linears.some((l) => isFeedForward(l.path, part))) continue;
    throw new FedtuneError("config", { where: "adapter.feedforward_modules", expected: "modules among target_modules", got: `\`${String(part)}\`, which matches none of them`, remedy: "Name it in target_modules too" });
  }
  return { targets: targetsOr(settings.target_modules, model, "rescaled"), feedForward: targetsOr(given, model, "feedForward"), linears };
}

/** `feedforward_modules` as PEFT accepts it: where both are lists, each of its names must be one of target_modules. */
function peftFeedForward({ targets, feedForward, linears }: Ia3Targets): Targets {
  if (typeof targets === "string" || typeof feedForward === "string") return feedForward;
  const subset = targets.filter((name) => isFeedForward(name, feedForward));
  const ends = linears.map((l) => l.path).filter((path) => isFeedForward(path, feedForward));
  const same = linears.every(({ path }) => isFeedForward(path, subset) === ends.includes(path));
  return same ? subset : ends.map((path) => path.replaceAll(".", String.raw`\.`)).join("|");
}

/** l as a row `[C, 1, width]`. */
function rowOf({ name, linear, rescales }: Ia3Module, tensors: AdapterTensors): Value {
  const l = tensors.parameter(name); // [C, 1, in] or [C, out, 1]
  return g.reshape(l, [l.shape[0] ?? 1, 1, rescales === "input" ? linear.inFeatures : linear.outFeatures]);
}

/** Scales a weight by columns or rows, or a bias; `change` takes a value of the base and its l. */
function scalingRule(modules: readonly Ia3Module[], change: (x: number, l: number) => number): MergeRule {
  const byWeight = new Map(modules.map((m) => [m.linear.weight, m]));
  const byBias = new Map(modules.flatMap((m) => (m.linear.bias !== undefined && m.rescales === "output" ? [[m.linear.bias, m] as const] : [])));
  return ({ name, base, values }) => {
    const ofBias = byBias.get(name);
    if (ofBias !== undefined) {
      const l = values(ofBias.name);
      return Float64Array.from(base, (b, o) => change(b, l[o] ?? 0));
    }
    const module = byWeight.get(name);
    if (module === undefined) return undefined;
    const { linear: { inFeatures, outFeatures, layout }, rescales } = module;
    const l = values(module.name);
    const columns = layout === "out_in" ? inFeatures : outFeatures;
    const byColumn = (rescales === "input") === (layout === "out_in");
    return Float64Array.from(base, (w, at) => change(w, l[byColumn ? at % columns : Math.floor(at / columns)] ?? 0));
  };
}

function divided(x: number, l: number): number {
  if (l !== 0) return x / l;
  throw new FedtuneError("model", { where: "export", expected: "an (IA)³ that scales by other than 0", got: "0, which leaves nothing to take back", remedy: "Keep the base model's own folder" });
}

function bindIa3(settings: Ia3Settings, model: ArchitectureModel): BoundAdapter {
  const { linears, feedForward } = resolveIa3(settings, model);
  const list = linears.map((linear): Ia3Module => ({ linear, name: `${PEFT_PREFIX}${linear.path}.ia3_l`, rescales: isFeedForward(linear.path, feedForward) ? "input" : "output" }));
  const modules = new Map(list.map((m) => [m.linear.path, m]));
  const heads = linears.filter((l) => l.isHead);
  const saved = savedWeights(model, { bias: "none", modules_to_save: settings.modules_to_save }, linears);
  const [scaled, unscaled] = [scalingRule(list, (x, l) => x * l), scalingRule(list, divided)];
  return {
    parameters: [...list.map(({ name, linear, rescales }) => {
      const shape = rescales === "input" ? [1, linear.inFeatures] : [linear.outFeatures, 1];
      return { name, shape, start: settings.init_ia3_weights ? constantStart(shape, 1) : normalStart(shape, 1) };
    }), ...saved.parameters],
    frozen: [], virtualTokens: 0, prefixTokens: 0, dropout: 0, factorPairs: [],
    changesHead: heads.length > 0 || saved.changesHead,
    baseCopies: [...heads.map((l) => ({ name: `${PEFT_PREFIX}${l.path}.base_layer.weight`, shape: [l.outFeatures, l.inFeatures] })), ...saved.baseCopies],
    attach: (tensors) => ({
      weight: saved.hook(tensors),
      linearInput(path, x) {
        const module = modules.get(path);
        return module?.rescales === "input" ? g.mul(x, rowOf(module, tensors)) : undefined;
      },
      linearOutput(site) {
        const module = modules.get(site.path);
        return module?.rescales === "output" ? g.mul(withBias(site), rowOf(module, tensors)) : undefined;
      },
    }),
    merge: (input) => scaled(input) ?? saved.merge(input),
    unmerge: saved.parameters.length === 0 ? unscaled : { none: "modules that stand in place of the base's, which the merged model no longer holds" },
  };
}

const peftSchema = z.looseObject({
  target_modules: z.union([z.string(), z.array(z.string()).min(1)]),
  feedforward_modules: names,
  exclude_modules: names.nullish(),
  init_ia3_weights: z.boolean().default(true),
  modules_to_save: z.array(z.string()).nullish(),
  fan_in_fan_out: z.boolean().default(false),
});

export const ia3: AdapterMethod<Ia3Settings> = {
  schema,
  bind: bindIa3,
  peft: {
    type: "IA3",
    write(settings, model) {
      const resolved = resolveIa3(settings, model);
      const { exclude_modules = null, modules_to_save, init_ia3_weights } = settings;
      return {
        target_modules: resolved.targets, feedforward_modules: peftFeedForward(resolved), exclude_modules, init_ia3_weights,
        modules_to_save: modules_to_save.length === 0 ? null : modules_to_save,
        // PEFT corrects it by itself where it is wrong, but warns.
        fan_in_fan_out: resolved.linears.some((l) => l.layout === "in_out"),
      };
    },
    read(fields) {
      const { target_modules, feedforward_modules, exclude_modules, init_ia3_weights, modules_to_save } = fields.parse(peftSchema);
      fields.refuseUnknown(Object.keys(peftSchema.shape));
      return schema.parse({
        method: "ia3", target_modules, feedforward_modules, init_ia3_weights, modules_to_save: modules_to_save ?? [],
        ...(exclude_modules != null && exclude_modules.length > 0 ? { exclude_modules } : {}),
      });
    },
  },
};
