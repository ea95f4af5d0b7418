/**
 * Half precision on the CPU, which has next to no kernels for it: an op is computed in float32 and its result rounded to the half
 * precision. onnxruntime would do the like for float16, but then leaves most of the roundings out, and it refuses bfloat16; here
 * each result is rounded, so that the CPU can stand witness for what a GPU computes (docs/devices.md).
 */
import { isHalf } from "../../../core/base/tensor.ts";
import type { OpName } from "../op-attributes.ts";
import type { LoweredNode } from "../ops/record.ts";
import type { OnnxEmitter } from "./emitter.ts";

/** Ops that only move elements, for which the CPU has kernels of any dtype, and those that see to it themselves. */
const ANY_DTYPE: ReadonlySet<OpName> = new Set<OpName>(["Cast", "Gather", "GatherRows", "Reshape", "Transpose", "Concat", "Split", "StopGradient", "LinearCrossEntropy", "SoftmaxProduct"]);

/** Whether the CPU cannot be relied on to run an op in half precision. */
export function lacksHalfKernel(op: OpName): boolean {
  return !ANY_DTYPE.has(op);
}

/** Lowers a node with its operands widened and its results rounded; one without operands of half precision, as it is. */
export function lowerInFloat32<A>(e: OnnxEmitter, node: LoweredNode<A>, lower: (node: LoweredNode<A>) => void): void {
  const { inputs, inputTypes, outputs, outputTypes, used } = node;
  if (![...inputTypes, ...outputTypes].some(({ dtype }) => isHalf(dtype))) return lower(node);
  const single = (type: (typeof inputTypes)[number]): (typeof inputTypes)[number] => (isHalf(type.dtype) ? { ...type, dtype: "float32" } : type);
  const rounded = outputTypes.map(({ dtype }, i) => isHalf(dtype) && used[i] === true);
  const wide = outputs.map((name, i) => (rounded[i] === true ? `${name} float32` : name));
  lower({ ...node, inputs: inputs.map((name, i) => (isHalf(inputTypes[i]?.dtype ?? "bool") ? e.cast(name, "float32") : name)), inputTypes: inputTypes.map(single), outputs: wide, outputTypes: outputTypes.map(single) });
  outputTypes.forEach(({ dtype }, i) => {
    if (rounded[i] === true) e.cast(wide[i] ?? "", dtype, outputs[i]);
  });
}
