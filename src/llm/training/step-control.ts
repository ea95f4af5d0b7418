/** Runs what an adapter does between two steps, on one client's part of the group's tensors. */
import { must } from "../../core/base/errors.ts";
import { elementCount, tensor } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import type { BoundAdapter, ParameterSpec } from "../adapters/adapter.ts";
import { trainedSpecs } from "./graphs.ts";
import type { TrainJob } from "./types.ts";

export interface ClientControl {
  /** The control's tensors, kept with the optimiser's state. */
  readonly state: ReadonlyMap<string, Tensor<"float32">>;
  /** @param input the client's parameters (changed in place), what they were before the step, and summed gradients, flat; labelled tokens of the step */
  afterStep(input: { readonly step: number; readonly parameters: Float32Array; readonly before: Float32Array; readonly gradients: Float32Array; readonly tokens: number }): void;
}

/** Views of a flat vector by name. */
function viewsOf(flat: Float32Array, specs: readonly ParameterSpec[]): ReadonlyMap<string, Float32Array> {
  let at = 0;
  return new Map(specs.map(({ name, shape }) => {
    const size = elementCount(shape);
    at += size;
    return [name, flat.subarray(at - size, at)];
  }));
}

/** The control of one client's job; undefined where the adapter has none. */
export function createControl(adapter: BoundAdapter, job: TrainJob): ClientControl | undefined {
  const { control } = adapter;
  if (control === undefined) return undefined;
  const specs = trainedSpecs(adapter);
  const state = new Map(control.state.map(({ name, shape }): [string, Tensor<"float32">] => {
    const key = `control ${name}`;
    return [key, tensor("float32", shape, job.optimizer?.get(key)?.data.slice() ?? new Float32Array(elementCount(shape)))];
  }));
  return {
    state,
    afterStep({ step, parameters, before, gradients, tokens }) {
      const [values, previous, slopes] = [viewsOf(parameters, specs), viewsOf(before, specs), viewsOf(gradients.map((x) => x / tokens), specs)];
      control.afterStep({
        step, totalSteps: job.totalSteps,
        parameter: (name) => must(values.get(name), name), before: (name) => must(previous.get(name), name), gradient: (name) => must(slopes.get(name), name), state: (name) => must(state.get(`control ${name}`), name).data,
      });
    },
  };
}
