/** Weights of the base that train in place of the originals: shared by the methods that train some or all of them. */
import type { Value } from "../../engine/graph/value.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { AdapterTensors, MergeRule, ParameterSpec } from "./adapter.ts";

/** A tensor of the base by its name in the model. */
export interface BaseWeight {
  readonly name: string;
  readonly shape: readonly number[];
}

/** Every tensor of a model, by its name in the checkpoint; one that is tied to another is not repeated. */
export function baseWeights({ tensors }: ArchitectureModel): readonly BaseWeight[] {
  return tensors.flatMap(({ shape, parts }) => parts.map(({ name, rows }) => ({ name, shape: shape.with(0, rows) })));
}

/** A weight that trains: `parameter` is its name among the adapter's tensors. */
export interface TrainedWeight extends BaseWeight {
  readonly parameter: string;
}

export interface ReplacedWeights {
  readonly parameters: readonly ParameterSpec[];
  /** The hook `weight` of a forward pass. */
  hook(tensors: AdapterTensors): (name: string) => Value | undefined;
  readonly merge: MergeRule;
  readonly changesHead: boolean;
}

/** Makes weights train from the values that the base has. Weights tied to one of them follow it where `tied` says so. */
export function replaceWeights(model: ArchitectureModel, trained: readonly TrainedWeight[], { tied }: { readonly tied: boolean }): ReplacedWeights {
  const byName = new Map(trained.map((w) => [w.name, w.parameter]));
  const aliases = tied ? [...model.tied].flatMap(([alias, name]): [string, string][] => (byName.has(name) ? [[alias, byName.get(name) ?? name]] : [])) : [];
  const used = new Map([...byName, ...aliases]);
  return {
    parameters: trained.map(({ name, shape, parameter }) => ({ name: parameter, shape, inPlace: true, start: (from) => Float32Array.from(from.base(name)) })),
    hook: (tensors) => (name) => {
      const parameter = used.get(name);
      return parameter === undefined ? undefined : tensors.parameter(parameter);
    },
    merge({ name, values }) {
      const parameter = byName.get(name);
      return parameter === undefined ? undefined : values(parameter);
    },
    changesHead: used.has(`${model.head.path}.weight`),
  };
}
