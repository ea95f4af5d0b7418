/** A graph as text, one line a node, and its hash. */
import { sha256 } from "../../core/base/hash.ts";
import { bytesOf, formatShape } from "../../core/base/tensor.ts";
import type { Graph } from "./types.ts";

/** Readable text of a graph: equal graphs print the same. */
export function printGraph(graph: Graph): string {
  // Values are numbered by first appearance, so that text does not depend on nodes that were dropped.
  const numbers = new Map<number, number>();
  const ref = (id: number): string => {
    if (!numbers.has(id)) numbers.set(id, numbers.size);
    return `%${numbers.get(id)}`;
  };
  const type = (id: number): string => `${graph.values[id]?.dtype}${formatShape(graph.values[id]?.shape ?? [])}`;
  return [
    ...graph.inputs.map(({ id, name }) => `${ref(id)} = input ${name}: ${type(id)}`),
    ...graph.weights.map(({ id, name }) => `${ref(id)} = weight ${name}: ${type(id)}`),
    ...graph.constants.map(({ id, tensor }) => `${ref(id)} = constant ${type(id)} ${tensor.data.length <= 8 ? [...tensor.data].join(" ") : sha256(bytesOf(tensor.data)).slice(0, 16)}`),
    ...graph.nodes.map(({ op, inputs, attributes, outputs }) => {
      const shown = Object.entries(attributes).map(([k, v]) => ` ${k}=${JSON.stringify(v)}`);
      return `${outputs.map(ref).join(", ")} = ${op}(${inputs.map(ref).join(", ")})${shown.join("")}: ${outputs.map(type).join(", ")}`;
    }),
    ...graph.outputs.map(({ id, name }) => `output ${name} = ${ref(id)}`),
  ].join("\n");
}

/** SHA-256 of the printed graph, hexadecimal. */
export function hashGraph(graph: Graph): string {
  return sha256(printGraph(graph));
}
