/** Runs a graph in float64 by the ops' own references: slow, and the witness for everything fast. */
import { must } from "../../core/base/errors.ts";
import { isHalf } from "../../core/base/tensor.ts";
import type { DType, Tensor } from "../../core/base/tensor.ts";
import { narrow, widen } from "../../core/formats/half.ts";
import { bindDim, factorOf, symbolsOf } from "../graph/dims.ts";
import { OPS } from "../graph/ops/all.ts";
import type { OpRecord, ReferenceTensor } from "../graph/ops/record.ts";
import type { Graph } from "../graph/types.ts";

/** What a value of this dtype can hold of a result: half precision rounds. */
function rounded(data: Float64Array, dtype: DType): Float64Array {
  return isHalf(dtype) ? Float64Array.from(widen(narrow(Float32Array.from(data), dtype), dtype)) : data;
}

/** A tensor of any dtype in doubles. */
export function toReference(t: Tensor): ReferenceTensor {
  if (isHalf(t.dtype) && t.data instanceof Uint16Array) return { dtype: t.dtype, shape: t.shape, data: Float64Array.from(widen(t.data, t.dtype)) };
  return { dtype: t.dtype, shape: t.shape, data: Float64Array.from(t.data as ArrayLike<number | bigint>, Number) };
}

/** Outputs by name. Feeds hold every input and weight by name; all arithmetic is in float64. */
export function evaluateReference(graph: Graph, feeds: ReadonlyMap<string, ReferenceTensor>): Map<string, ReferenceTensor> {
  const values = new Map<number, ReferenceTensor>();
  const bindings = new Map<string, number>();
  const learn = (id: number, shape: readonly number[]): void => {
    graph.values[id]?.shape.forEach((dim, i) => {
      const [symbol, ...others] = symbolsOf(dim);
      if (symbol !== undefined && others.length === 0) bindings.set(symbol, must(shape[i], `axis ${i}`) / factorOf(dim));
    });
  };
  for (const { id, name } of [...graph.inputs, ...graph.weights]) {
    const fed = must(feeds.get(name), `feed ${name}`);
    values.set(id, fed);
    learn(id, fed.shape);
  }
  for (const { id, tensor } of graph.constants) values.set(id, toReference(tensor));
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((id) => must(values.get(id), `value ${id}`));
    if (node.op === "Concat" && node.attributes.size !== undefined) {
      bindings.set(node.attributes.size, inputs.reduce((n, t) => n + (t.shape[node.attributes.axis] ?? 0), 0));
    }
    const shapes = node.outputs.map((id) => must(graph.values[id], `value ${id}`).shape.map((d) => bindDim(d, bindings)));
    // Node is a union over ops and OPS is indexed by the same op; TypeScript cannot correlate the two.
    const results = (OPS[node.op] as OpRecord<typeof node.attributes>).reference(inputs, node.attributes, shapes);
    node.outputs.forEach((id, i) => {
      const { dtype } = must(graph.values[id], "type");
      values.set(id, { dtype, shape: must(shapes[i], "shape"), data: rounded(must(results[i], "result"), dtype) });
    });
  }
  return new Map(graph.outputs.map(({ id, name }) => [name, must(values.get(id), name)]));
}
