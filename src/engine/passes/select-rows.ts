/**
 * Rows of a value while its graph is built: ops that treat each row alone are made for the selected rows only. Of a decoder's last
 * layer all that comes after attention is needed for the rows that have a label (or whose next token is asked for), no others.
 */
import { must } from "../../core/base/errors.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { OpAttributes, OpName } from "../graph/op-attributes.ts";
import * as g from "../graph/operations.ts";
import { OPS } from "../graph/ops/all.ts";
import type { OpRecord } from "../graph/ops/record.ts";
import type { Node, ValueId } from "../graph/types.ts";
import type { Value } from "../graph/value.ts";

/** Which operands of a node have the rows of its outputs `[C, N, …]`; undefined where it does not treat each row alone. */
function operandsByRow(node: Node, builder: GraphBuilder): readonly ValueId[] | undefined {
  // Node is a union over ops and OPS is indexed by the same op; TypeScript cannot correlate the two.
  const rows = (OPS[node.op] as OpRecord<OpAttributes[OpName]>).rowwise?.(node.attributes);
  const [c, n, ...width] = builder.valueOf(must(node.outputs[0], node.op)).shape;
  if (rows === undefined || width.length !== 1) return undefined;
  const operands = rows === "first" ? node.inputs.slice(0, 1) : node.inputs.filter((id) => (builder.valueOf(id).shape.at(-2) ?? 1) !== 1);
  const fit = operands.length > 0 && operands.every((id) => {
    const { shape } = builder.valueOf(id);
    return shape.length === 3 && shape[0] === c && shape[1] === n;
  });
  return fit ? operands : undefined;
}

/**
 * The same as `gatherRows(x, rows)`, by way of the rows of what x is made of, as far back as nothing else needs the others.
 * @param x `[C, N, D]`, the whole of which nothing else may need later
 * @param rows int32 `[C, L]`
 * @returns `[C, L, D]`
 */
export function selectRows(builder: GraphBuilder, x: Value, rows: Value): Value {
  const readers = new Map<ValueId, Node[]>();
  for (const node of builder.nodes) for (const id of node.inputs) readers.set(id, [...(readers.get(id) ?? []), node]);

  const wanted = new Set([x.id]);
  const narrowed = new Set<Node>();
  const needsAll = (id: ValueId): boolean => readers.get(id)?.some((reader) => !narrowed.has(reader)) ?? false;
  for (const node of builder.nodes.toReversed()) {
    if (!node.outputs.some((id) => wanted.has(id)) || node.outputs.some(needsAll)) continue;
    const operands = operandsByRow(node, builder);
    if (operands === undefined) continue;
    narrowed.add(node);
    for (const id of operands) wanted.add(id);
  }

  const selected = new Map<ValueId, Value>();
  const ofRows = (id: ValueId): Value => {
    const known = selected.get(id) ?? g.gatherRows(builder.valueOf(id), rows);
    selected.set(id, known);
    return known;
  };
  // Oldest first; the nodes that are made meanwhile are no part of it.
  for (const node of builder.nodes.filter((made) => narrowed.has(made))) {
    const operands = new Set(operandsByRow(node, builder));
    const inputs = node.inputs.map((id) => (operands.has(id) ? ofRows(id) : builder.valueOf(id)));
    builder.emit(node.op, inputs, node.attributes).forEach((output, i) => selected.set(must(node.outputs[i], node.op), output));
  }
  return ofRows(x.id);
}
