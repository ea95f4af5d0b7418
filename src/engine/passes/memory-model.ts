/**
 * How much memory the values of a graph take while it runs, node by node in its order: a value lives from the node that
 * makes it to the last that reads it. What runtimes do in place, and what a single node needs inside, is left out.
 */
import { must } from "../../core/base/errors.ts";
import { bytesPerElement } from "../../core/base/tensor.ts";
import { bindDim } from "../graph/dims.ts";
import { OPS } from "../graph/ops/all.ts";
import type { OpRecord } from "../graph/ops/record.ts";
import type { Graph, Node, TensorType, ValueId } from "../graph/types.ts";

/** Values of symbolic dimensions. */
export type Sizes = ReadonlyMap<string, number>;

/** Bytes of a value. Throws where a symbol of its shape is not in `sizes`. */
export function bytesOfValue({ dtype, shape }: TensorType, sizes: Sizes): number {
  return shape.reduce<number>((n, dim) => n * bindDim(dim, sizes), bytesPerElement(dtype));
}

/** Whether a node's output is its input's memory. */
function isView({ op }: Node): boolean {
  return OPS[op].view === true;
}

/** A processor does about so many operations of a matrix product while it moves one byte (measured: 400 GFLOP/s, 10 GB/s). */
const OPERATIONS_PER_BYTE = 40;

/** What a node costs, in bytes moved: those it reads and writes, and its products by what could be moved meanwhile. */
export function costOfNode(graph: Pick<Graph, "values">, node: Node, sizes: Sizes): number {
  if (isView(node)) return 0;
  const shapesOf = (ids: readonly ValueId[]): (readonly number[])[] => ids.map((id) => must(graph.values[id], `value ${id}`).shape.map((d) => bindDim(d, sizes)));
  const moved = [...node.inputs, ...node.outputs].reduce((n, id) => n + bytesOfValue(must(graph.values[id], `value ${id}`), sizes), 0);
  // Node is a union over ops and OPS is indexed by the same op; TypeScript cannot correlate the two.
  const operations = (OPS[node.op] as OpRecord<typeof node.attributes>).operations?.(shapesOf(node.inputs), node.attributes, shapesOf(node.outputs)) ?? 0;
  return moved + operations / OPERATIONS_PER_BYTE;
}

/** Value whose memory a value is: itself, unless a view made it. */
export function findRoots(nodes: readonly Node[]): (id: ValueId) => ValueId {
  const roots = new Map<ValueId, ValueId>();
  for (const node of nodes) {
    if (!isView(node)) continue;
    const [from = 0] = node.inputs;
    for (const id of node.outputs) roots.set(id, roots.get(from) ?? from);
  }
  return (id) => roots.get(id) ?? id;
}

/** Most bytes that live at once, and the index of the node that runs then (−1 for a graph without nodes). */
export interface Peak {
  readonly bytes: number;
  readonly at: number;
}

/** The peak of a graph's own values; what it is fed and its weights lie elsewhere. Throws where a symbol is not in `sizes`. */
export function findPeak(graph: Pick<Graph, "values" | "nodes" | "outputs">, sizes: Sizes): Peak {
  const root = findRoots(graph.nodes);
  const lastUse = new Map<ValueId, number>();
  graph.nodes.forEach((node, i) => {
    for (const id of node.inputs) lastUse.set(root(id), i);
  });
  for (const { id } of graph.outputs) lastUse.set(root(id), graph.nodes.length);
  const dying = new Map<number, number>();
  let [live, peak] = [0, { bytes: 0, at: -1 }];
  graph.nodes.forEach((node, i) => {
    if (!isView(node)) {
      for (const id of node.outputs) {
        const bytes = bytesOfValue(must(graph.values[id], `value ${id}`), sizes);
        const end = lastUse.get(id) ?? i;
        live += bytes;
        dying.set(end, (dying.get(end) ?? 0) + bytes);
      }
    }
    if (live > peak.bytes) peak = { bytes: live, at: i };
    live -= dying.get(i) ?? 0;
  });
  return peak;
}
