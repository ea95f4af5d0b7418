/** Checks a graph before it runs: single assignment, order, arity, dtypes and shapes of every node. */
import { messageOf } from "../../core/base/errors.ts";
import { formatShape, sameShape } from "../../core/base/tensor.ts";
import { OPS } from "./ops/all.ts";
import type { OpRecord } from "./ops/record.ts";
import type { Graph, Node, TensorType } from "./types.ts";

const show = (t: TensorType | undefined): string => (t === undefined ? "nothing" : `${t.dtype}${formatShape(t.shape)}`);

function inferTypes(node: Node, inputs: readonly TensorType[], name: string): readonly TensorType[] {
  try {
    // Node is a union over ops and OPS is indexed by the same op; TypeScript cannot correlate the two.
    return (OPS[node.op] as OpRecord<typeof node.attributes>).infer(inputs, node.attributes);
  } catch (cause) {
    throw new Error(`graph: ${name}: ${messageOf(cause)}`, { cause });
  }
}

/** Throws where the graph is not well formed, naming the node and both shapes. */
export function verifyGraph(graph: Graph): void {
  const assigned = new Set<number>();
  const assign = (id: number, what: string): void => {
    if (graph.values[id] === undefined) throw new Error(`graph: ${what} is value ${id}, which does not exist`);
    if (assigned.has(id)) throw new Error(`graph: ${what} assigns value ${id} a second time`);
    assigned.add(id);
  };
  for (const { id, name } of graph.inputs) assign(id, `input ${name}`);
  for (const { id, name } of graph.weights) assign(id, `weight ${name}`);
  for (const { id, tensor } of graph.constants) {
    assign(id, "a constant");
    if (show(tensor) !== show(graph.values[id])) throw new Error(`graph: constant ${id}: expected ${show(graph.values[id])}, got ${show(tensor)}`);
  }
  graph.nodes.forEach((node, index) => {
    const name = `node ${index} (${node.op})`;
    const missing = node.inputs.find((id) => !assigned.has(id));
    if (missing !== undefined) throw new Error(`graph: ${name} reads value ${missing} before it is assigned`);
    const types = node.inputs.map((id) => graph.values[id] ?? { dtype: "float32" as const, shape: [] });
    const expected = inferTypes(node, types, name);
    expected.forEach((type, i) => {
      const actual = graph.values[node.outputs[i] ?? -1];
      if (actual?.dtype !== type.dtype || !sameShape(actual.shape, type.shape)) throw new Error(`graph: ${name}: expected output ${i} to be ${show(type)}, got ${show(actual)}`);
    });
    if (expected.length !== node.outputs.length) throw new Error(`graph: ${name}: expected ${expected.length} outputs, got ${node.outputs.length}`);
    for (const id of node.outputs) assign(id, name);
  });
  for (const { id, name } of graph.outputs) {
    if (!assigned.has(id)) throw new Error(`graph: output ${name} is value ${id}, which nothing assigns`);
  }
}
