/** Reverse-mode differentiation as a graph transformation: the backward pass is more nodes of the same graph. */
import { formatShape, isReal, sameShape } from "../../core/base/tensor.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { add } from "../graph/operations.ts";
import { OPS } from "../graph/ops/all.ts";
import type { OpRecord } from "../graph/ops/record.ts";
import type { Value } from "../graph/value.ts";

/**
 * Gradients of Σ seed · output with respect to `parameters`, as new nodes. Nothing is computed for values that no
 * parameter reaches. A parameter that does not reach the output gives undefined,
 * as does one that reaches it only through ops that stop gradients.
 * `seed` has the dtype and shape of `output`. Throws where it has not, where a value belongs to another graph, and where
 * a needed op has no gradient, with the reason that the op states.
 */
export function gradient(builder: GraphBuilder, output: { readonly value: Value; readonly seed: Value }, parameters: readonly Value[]): readonly (Value | undefined)[] {
  const { value, seed } = output;
  if ([value, seed, ...parameters].some((v) => v.builder !== builder)) throw new Error("gradient: a value belongs to another graph");
  if (value.dtype !== seed.dtype || !sameShape(value.shape, seed.shape)) {
    throw new Error(`gradient: expected a seed ${value.dtype}${formatShape(value.shape)} as the output, got ${seed.dtype}${formatShape(seed.shape)}`);
  }
  const nodes = [...builder.nodes];
  const reached = new Set(parameters.map((p) => p.id));
  for (const node of nodes) {
    if (OPS[node.op].gradient === "stops") continue;
    if (node.inputs.some((id) => reached.has(id))) for (const id of node.outputs) reached.add(id);
  }
  const gradients = new Map<number, Value>();
  if (reached.has(value.id)) gradients.set(value.id, seed);

  for (const node of nodes.reverse()) {
    if (!node.outputs.some((id) => gradients.has(id))) continue;
    const needs = node.inputs.map((id) => reached.has(id));
    if (!needs.some(Boolean)) continue;
    // Node is a union over ops and OPS is indexed by the same op; TypeScript cannot correlate the two.
    const rule = (OPS[node.op] as OpRecord<typeof node.attributes>).gradient;
    // A parameter may itself be the output of such an op; its gradient goes no further back.
    if (rule === "stops") continue;
    if (typeof rule !== "function") throw new Error(`${node.op} has no gradient: ${rule.none}`);
    const pieces = rule({
      inputs: node.inputs.map((id) => builder.valueOf(id)),
      outputs: node.outputs.map((id) => builder.valueOf(id)),
      attributes: node.attributes,
      gradients: node.outputs.map((id) => gradients.get(id)),
      needs,
    });
    node.inputs.forEach((id, i) => {
      if (!needs[i]) return;
      const piece = pieces[i];
      if (piece === undefined) {
        // Nothing flows back through conditions and row numbers.
        if (!isReal(builder.valueOf(id).dtype)) return;
        throw new Error(`${node.op} has no gradient for its input ${i}`);
      }
      const known = gradients.get(id);
      gradients.set(id, known === undefined ? piece : add(known, piece));
    });
  }
  return parameters.map((p) => gradients.get(p.id));
}
