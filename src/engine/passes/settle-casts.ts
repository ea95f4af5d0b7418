/**
 * After the gradient of a graph in mixed precision: what the forward pass has both in float32 and in half precision is kept for the
 * backward pass in half, and widened again where it is read. Else the float32 copies of activations would live from one pass
 * to the other, and half precision would save nothing. Also drops casts that go there and back.
 */
import { must } from "../../core/base/errors.ts";
import { isHalf } from "../../core/base/tensor.ts";
import type { Graph, Node, ValueId } from "../graph/types.ts";

/**
 * The same graph with casts settled; `boundary`: values below this id belong to the forward pass. New nodes have ids above all
 * others. A runtime must not merge equal nodes of it.
 */
export function settleCasts(graph: Graph, boundary: ValueId): Graph {
  const values = [...graph.values];
  const dtypeOf = (id: ValueId) => must(values[id], `value ${id}`).dtype;
  const made = new Set(graph.nodes.flatMap(({ outputs }) => outputs));
  /** The half-precision form of float32 values that the forward pass makes. */
  const narrower = new Map<ValueId, ValueId>();
  /** What a widened value was widened from. */
  const source = new Map<ValueId, ValueId>();
  const nodes: Node[] = [];
  const again = new Map<ValueId, ValueId>();
  const renamed = new Map<ValueId, ValueId>();

  const widenAgain = (half: ValueId): ValueId => {
    const known = again.get(half);
    if (known !== undefined) return known;
    const id = values.push({ dtype: "float32", shape: must(values[half], "value").shape }) - 1;
    nodes.push(Object.freeze({ op: "Cast", inputs: Object.freeze([half]), attributes: Object.freeze({ to: "float32" as const }), outputs: Object.freeze([id]) }));
    again.set(half, id);
    source.set(id, half);
    return id;
  };

  for (const node of graph.nodes) {
    const [output = 0] = node.outputs;
    const [input = 0] = node.inputs;
    const forward = output < boundary;
    if (forward && node.op === "Cast") {
      if (isHalf(dtypeOf(input))) {
        narrower.set(output, input);
        source.set(output, input);
      } else if (isHalf(dtypeOf(output)) && made.has(input)) narrower.set(input, output);
    }
    if (forward) {
      nodes.push(node);
      continue;
    }
    const inputs = node.inputs.map((id) => {
      const own = renamed.get(id) ?? id;
      const half = narrower.get(own);
      return half === undefined ? own : widenAgain(half);
    });
    const [first = 0] = inputs;
    if (node.op === "Cast") {
      const half = source.get(first);
      if (half !== undefined && dtypeOf(half) === node.attributes.to) {
        renamed.set(output, half);
        continue;
      }
      if (isHalf(dtypeOf(first))) source.set(output, first);
    }
    nodes.push(Object.freeze({ ...node, inputs: Object.freeze(inputs) }));
  }
  const outputs = graph.outputs.map(({ name, id }) => ({ name, id: renamed.get(id) ?? id }));
  return Object.freeze({ ...graph, values: Object.freeze(values), nodes: Object.freeze(live(nodes, outputs)), outputs: Object.freeze(outputs) });
}

/** The nodes that the outputs need. */
function live(nodes: readonly Node[], outputs: Graph["outputs"]): readonly Node[] {
  const needed = new Set(outputs.map(({ id }) => id));
  return nodes.toReversed().filter((node) => {
    const kept = node.outputs.some((id) => needed.has(id));
    if (kept) for (const id of node.inputs) needed.add(id);
    return kept;
  }).toReversed();
}
