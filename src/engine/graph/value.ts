/** A value of a graph that is being built, and the little of a builder that operations need. */
import type { Tensor } from "../../core/base/tensor.ts";
import type { OpAttributes, OpName } from "./op-attributes.ts";
import type { TensorType, ValueId } from "./types.ts";

/** Where operations put their nodes. */
export interface NodeSink {
  /** Adds one node, or finds the equal one. Throws where shapes or dtypes do not fit, naming op and shapes. */
  emit<K extends OpName>(op: K, inputs: readonly Value[], attributes: OpAttributes[K]): readonly Value[];
  /** A small tensor inside the graph. */
  constant(tensor: Tensor): Value;
}

/** A value of a graph that is being built. */
export interface Value extends TensorType {
  readonly id: ValueId;
  readonly builder: NodeSink;
}
