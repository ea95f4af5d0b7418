/** A graph as frozen data: values with types, nodes in topological order, each value assigned once. */
import type { DType, Tensor } from "../../core/base/tensor.ts";
import type { Dim } from "./dims.ts";
import type { OpAttributes, OpName } from "./op-attributes.ts";

/** What is known of a value before the graph runs. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly Dim[];
}

/** Index into `Graph.values`. */
export type ValueId = number;

/** One operation; which attributes it has follows from its op. */
export type Node = {
  readonly [K in OpName]: {
    readonly op: K;
    readonly inputs: readonly ValueId[];
    readonly attributes: OpAttributes[K];
    readonly outputs: readonly ValueId[];
  };
}[OpName];

export interface NamedValue {
  readonly name: string;
  readonly id: ValueId;
}

export interface Graph {
  readonly values: readonly TensorType[];
  /** Fed at every run. */
  readonly inputs: readonly NamedValue[];
  /** Frozen tensors that live outside the graph (the base); bound when a session is opened. */
  readonly weights: readonly NamedValue[];
  /** Small tensors inside the graph. */
  readonly constants: readonly { readonly id: ValueId; readonly tensor: Tensor }[];
  readonly nodes: readonly Node[];
  readonly outputs: readonly NamedValue[];
}
