/** What an op's lowering may use to write ONNX nodes. */
import type { Tensor } from "../../../core/base/tensor.ts";
import type { DType } from "../../../core/base/tensor.ts";
import type { Dim } from "../dims.ts";
import type { TensorType } from "../types.ts";

/** An ONNX attribute: an integer stays one when written as bigint. */
export type OnnxAttribute = number | bigint | string | readonly bigint[];

/** Devices that a model can run on. */
export const DEVICES = ["cpu", "cuda", "webgpu"] as const;
/** Where a model runs: ops choose by it among equal forms, for a kernel that one device has and another lacks. */
export type Device = (typeof DEVICES)[number];

export interface OnnxEmitter {
  readonly device: Device;
  /** Adds a node. Outputs are names ("" for one that is not wanted), or a count of fresh names. Returns the names. */
  node(op: string, inputs: readonly string[], outputs: readonly string[] | number, options?: { readonly attributes?: Readonly<Record<string, OnnxAttribute>>; readonly domain?: string }): readonly string[];
  /** Adds a node with one fresh output. */
  fresh(op: string, inputs: readonly string[], options?: { readonly attributes?: Readonly<Record<string, OnnxAttribute>>; readonly domain?: string }): string;
  /** A constant; equal ones are stored once. */
  constant(tensor: Tensor): string;
  /** A 1-D int64 constant. */
  integers(values: readonly number[]): string;
  /** A scalar constant, float32 unless it is to stand beside values of half precision. */
  float(x: number, dtype?: DType): string;
  /** A 1-D int64 tensor with the values of symbolic dimensions, made once for each distinct list. */
  shape(dims: readonly Dim[]): string;
  /** A value that all nodes share which ask for it by the same key, made where it is first asked for. */
  once(key: string, make: () => string): string;
  /** `x` under another shape. */
  reshape(x: string, from: readonly Dim[], to: readonly Dim[], output?: string): string;
  /**
   * Says the type of a value that a lowering makes in between, where onnxruntime cannot tell it, as after a Reshape to a symbolic
   * dimension. A value without a shape takes no freed buffer, and makes the planning of all others slow (LOG.md).
   */
  declare(value: string, type: TensorType): string;
  /** `x` as another dtype. */
  cast(x: string, to: DType, output?: string): string;
}
