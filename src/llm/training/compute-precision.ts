/** Which weights are held in half precision, and how forward graphs are ended or gone on with in the precision that a run computes in. */
import type { HalfDType } from "../../core/base/tensor.ts";
import type { GraphBuilder } from "../../engine/graph/builder.ts";
import type { Graph } from "../../engine/graph/types.ts";
import type { Value } from "../../engine/graph/value.ts";
import { toHalfPrecision, type HalfPrecisionGraph, type HalfPrecisionOptions } from "../../engine/passes/half-precision.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";

/** A model in half precision: all tensors of its base that are not rounded, by their own names and those they are joined under. */
export function halfPrecisionOf({ tensors }: Pick<ArchitectureModel, "tensors">, dtype: HalfDType): HalfPrecisionOptions {
  const names = new Set(tensors.flatMap(({ name, parts }) => [name, ...parts.map((part) => part.name)]));
  return { dtype, isHalfWeight: (name) => names.has(name) };
}

/** The graph of a builder that has its outputs; these stay float32. `half` undefined: all is float32. */
export function finishForward(builder: GraphBuilder, half: HalfPrecisionOptions | undefined): Graph {
  const graph = builder.finish();
  if (half === undefined) return graph;
  const mixed = toHalfPrecision(graph, half);
  for (const { name, id } of graph.outputs) mixed.builder.output(name, mixed.value(id));
  return mixed.builder.finish();
}

/** A forward graph that is to be differentiated: the builder in which it goes on, and what stands there for its inputs and `results`. */
export function continueForward(builder: GraphBuilder, half: HalfPrecisionOptions | undefined, results: readonly Value[]): HalfPrecisionGraph {
  if (half === undefined) return { builder, value: (id) => builder.valueOf(id) };
  results.forEach((value, i) => builder.output(`result ${i}`, value));
  return toHalfPrecision(builder.finish(), half);
}
