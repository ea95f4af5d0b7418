/**
 * (IA)³ (Liu et al. 2022, section 3.3): learned vectors rescale activations. The output of a module, its bias included,
 * becomes l ⊙ (W x + b); a module that ends a feed-forward takes W (l ⊙ x) + b instead. l starts at 1.
 */
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { ArchitectureModel, LinearModule } from "../architectures/architecture.ts";
import { commonFields, type AdapterMethod, type AdapterTensors, type BoundAdapter, type MergeRule } from "./adapter.ts";
import { withBias } from "./linear-change.ts";
import { PEFT_PREFIX } from "./peft-config.ts";
import { constantStart, normalStart } from "./starts.ts";
import { matchesPath, resolveTargets, targetsOr, type Targets } from "./targets.ts";

const targets = z.union([z.string(), z.array(z.string()).min(1)]);

const schema = z.strictObject({
  method: z.literal("ia3").describe("adapter method"),
  target_modules: targets.optional().describe("module names, the word all-linear, or a regular expression that matches whole module paths; left out: what PEFT takes for the architecture (for llama k_proj, v_proj and down_proj)"),
  feedforward_modules: z.union([z.string(), z.array(z.string())]).optional().describe("those of target_modules whose input is rescaled in place of their output; left out: the feed-forward's last projection"),
  init_ia3_weights: z.boolean().default(true).describe("start from 1, so that the model is the base; else from normal draws"),
  ...commonFields,
});
type Ia3Settings = z.infer<typeof schema>;

interface Ia3Module {
  readonly linear: LinearModule;
  readonly name: string;
  readonly rescales: "input" | "output";
}

/** Whether PEFT takes a path for a feed-forward: unlike target_modules, a name counts where it ends a word. */
function isFeedForward(path: string, feedForward: Targets): boolean {
  return typeof feedForward === "string" ? matchesPath(feedForward, path, "feedforward_modules") : feedForward.some((name) => path.endsWith(name));
}

/** The modules and which of them end a feed-forward. Throws FedtuneError("config") where a name or pattern matches nothing. */
function resolve(settings: Ia3Settings, model: ArchitectureModel): { readonly targets: Targets; readonly feedForward: Targets; readonly linears: readonly LinearModule[] } {
  const targets = targetsOr(settings.target_modules, model, "rescaled");
  const linears = resolveTargets(targets, model.linears);
  const given = settings.feedforward_modules;
  for (const part of given === undefined ? [] : typeof given === "string" ? [given] : given.map((name) => [name])) {
    if (linears.some((l) => isFeedForward(l.path, part))) continue;
    throw new FedtuneError("config", { where: "adapter.feedforward_modules", expected: "modules among target_modules", got: `\`${String(part)}\`, which matches none of them`, remedy: "Name it in target_modules too" });
  }
  return { targets, feedForward: targetsOr(given, model, "feedForward"), linears };
}

/** `feedforward_modules` as PEFT accepts it: where both are lists, each of its names must be one of target_modules. */
function peftFeedForward({ targets, feedForward, linears }: ReturnType<typeof resolve>): Targets {
  if (typeof targets === "string" || typeof feedForward === "string") return feedForward;
  const subset = targets.filter((name) => isFeedForward(name, feedForward));
  const ends = linears.filter((l) => isFeedForward(l.path, feedForward)).map((l) => l.path);
  const same = linears.every((l) => isFeedForward(l.path, subset) === ends.includes(l.path));
  return same ? subset : ends.map((path) => path.replaceAll(".", String.raw`\.`)).join("|");
}

function ia3Modules(settings: Ia3Settings, model: ArchitectureModel): readonly Ia3Module[] {
  const { linears, feedForward } = resolve(settings, model);
  return linears.map((linear) => ({ linear, name: `${PEFT_PREFIX}${linear.path}.ia3_l`, rescales: isFeedForward(linear.path, feedForward) ? "input" : "output" }));
}

/** l as a row `[C, 1, width]`. */
function rowOf(name: string, tensors: AdapterTensors): Value {
  const l = tensors.parameter(name); // [C, out, 1] or [C, 1, in]
  const [clients = 1, a = 1, b = 1] = l.shape;
  return g.reshape(l, [clients, 1, Number(a) * Number(b)]);
}

function mergeRule(modules: readonly Ia3Module[]): MergeRule {
  const byWeight = new Map(modules.map((m) => [m.linear.weight, m]));
  const byBias = new Map(modules.flatMap((m) => (m.linear.bias !== undefined && m.rescales === "output" ? [[m.linear.bias, m] as const] : [])));
  return (input) => {
    const ofBias = byBias.get(input.name);
    if (ofBias !== undefined) {
      const l = input.values(ofBias.name);
      return Float64Array.from(input.base, (b, o) => b * (l[o] ?? 0));
    }
    const module = byWeight.get(input.name);
    if (module === undefined) return undefined;
    const { linear: { inFeatures, outFeatures, layout }, rescales } = module;
    const l = input.values(module.name);
    const columns = layout === "out_in" ? inFeatures : outFeatures;
    const byColumn = (rescales === "input") === (layout === "out_in");
    return Float64Array.from(input.base, (w, at) => w * (l[byColumn ? at % columns : Math.floor(at / columns)] ?? 0));
  };
}

function bindIa3(settings: Ia3Settings, model: ArchitectureModel): BoundAdapter {
  const list = ia3Modules(settings, model);
  const modules = new Map(list.map((m) => [m.linear.path, m]));
  const heads = list.filter((m) => m.linear.isHead);
  const shapeOf = ({ linear, rescales }: Ia3Module): readonly number[] => (rescales === "input" ? [1, linear.inFeatures] : [linear.outFeatures, 1]);
  return {
    parameters: list.map((m) => {
      const shape = shapeOf(m);
      return { name: m.name, shape, start: settings.init_ia3_weights ? constantStart(shape, 1) : normalStart(shape, 1) };
    }),
    frozen: [], virtualTokens: 0, prefixTokens: 0, dropout: 0, factorPairs: [],
    changesHead: heads.length > 0,
    baseCopies: heads.map(({ linear }) => ({ name: `${PEFT_PREFIX}${linear.path}.base_layer.weight`, shape: [linear.outFeatures, linear.inFeatures] })),
    attach: (tensors) => ({
      linearInput(path, x) {
        const module = modules.get(path);
        return module?.rescales === "input" ? g.mul(x, rowOf(module.name, tensors)) : undefined;
      },
      linearOutput(site) {
        const module = modules.get(site.path);
        return module?.rescales === "output" ? g.mul(withBias(site), rowOf(module.name, tensors)) : undefined;
      },
    }),
    merge: mergeRule(list),
  };
}

const PEFT_DEFAULTS = { exclude_modules: null } as const;

const peftSchema = z.looseObject({ target_modules: targets, feedforward_modules: z.union([z.string(), z.array(z.string())]), init_ia3_weights: z.boolean().default(true) });

export const ia3: AdapterMethod<Ia3Settings> = {
  schema,
  bind: bindIa3,
  peft: {
    type: "IA3",
    write(settings, model) {
      const resolved = resolve(settings, model);
      const transposed = resolved.linears.some((l) => l.layout === "in_out");
      return { ...PEFT_DEFAULTS, target_modules: resolved.targets, feedforward_modules: peftFeedForward(resolved), fan_in_fan_out: transposed, init_ia3_weights: settings.init_ia3_weights };
    },
    read(fields) {
      const { target_modules, feedforward_modules, init_ia3_weights } = fields.parse(peftSchema);
      fields.refuseOthers(PEFT_DEFAULTS, []);
      return schema.parse({ method: "ia3", target_modules, feedforward_modules, init_ia3_weights });
    },
  },
};
