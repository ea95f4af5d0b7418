/** Named tensors: plain data with a dtype and a shape. What they mean is left to others. */
import { FedtuneError } from "./errors.ts";

/** Dtypes that travel through graphs, files and messages. `bool` is one byte an element. */
export const DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "int8", "uint32", "uint64", "bool"] as const;
export type DType = (typeof DTYPES)[number];

/** Floating-point dtypes of 16 bits. */
export const HALF_DTYPES = ["float16", "bfloat16"] as const;
export type HalfDType = (typeof HALF_DTYPES)[number];

/** Dtypes that a model may compute in. */
export const COMPUTE_DTYPES = ["float32", ...HALF_DTYPES] as const;
export type ComputeDType = (typeof COMPUTE_DTYPES)[number];

/** Whether a dtype is a floating-point one of 16 bits. */
export function isHalf(dtype: DType): dtype is HalfDType {
  return dtype === "float16" || dtype === "bfloat16";
}

/** Whether a dtype stands for real numbers. */
export function isReal(dtype: DType): boolean {
  return dtype === "float32" || dtype === "float64" || isHalf(dtype);
}

/** The JavaScript array that holds a dtype's elements; half-precision values are kept as their 16 bits. */
export interface ArrayOf {
  float32: Float32Array;
  float64: Float64Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
  int64: BigInt64Array;
  int32: Int32Array;
  uint8: Uint8Array;
  int8: Int8Array;
  uint32: Uint32Array;
  uint64: BigUint64Array;
  bool: Uint8Array;
}
export type TensorData = ArrayOf[DType];

export interface Tensor<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: ArrayOf[D];
}

/** Tensors by name, in a fixed order. */
export type NamedTensors<D extends DType = DType> = ReadonlyMap<string, Tensor<D>>;

const BYTES: Record<DType, number> = {
  float32: 4, float64: 8, float16: 2, bfloat16: 2, int64: 8, int32: 4, uint8: 1, int8: 1, uint32: 4, uint64: 8, bool: 1,
};

const CONSTRUCTORS = {
  float32: Float32Array, float64: Float64Array, float16: Uint16Array, bfloat16: Uint16Array, int64: BigInt64Array, int32: Int32Array,
  uint8: Uint8Array, int8: Int8Array, uint32: Uint32Array, uint64: BigUint64Array, bool: Uint8Array,
} as const;

/** Bytes of one element. */
export function bytesPerElement(dtype: DType): number {
  return BYTES[dtype];
}

/** Number of elements of a shape; 1 for a scalar (`[]`). */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((n, d) => n * d, 1);
}

/** A tensor over existing data. Throws an internal error where the length contradicts the shape. */
export function tensor<D extends DType>(dtype: D, shape: readonly number[], data: ArrayOf[D]): Tensor<D> {
  if (data.length !== elementCount(shape)) throw new Error(`tensor: ${dtype}[${shape.join(",")}] needs ${elementCount(shape)} elements, got ${data.length}`);
  return { dtype, shape, data };
}

/** A tensor of zeros. */
export function zeros<D extends DType>(dtype: D, shape: readonly number[]): Tensor<D> {
  // The constructor table and ArrayOf are the same mapping; TypeScript cannot index the union by D.
  const data = new CONSTRUCTORS[dtype](elementCount(shape)) as ArrayOf[D];
  return { dtype, shape, data };
}

/** Views `bytes` as the elements of `dtype`, copying only where the offset is not aligned. Little-endian. */
export function viewBytes<D extends DType>(dtype: D, bytes: Uint8Array): ArrayOf[D] {
  const size = BYTES[dtype];
  if (bytes.byteLength % size !== 0) {
    throw new FedtuneError("data", { where: "tensor bytes", expected: `a multiple of ${size} bytes for ${dtype}`, got: `${bytes.byteLength} bytes` });
  }
  const aligned = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  return new CONSTRUCTORS[dtype](aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / size) as ArrayOf[D];
}

/** The bytes of a tensor's data, without a copy. */
export function bytesOf(data: TensorData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** `[2, 3]` as text, for messages. */
export function formatShape(shape: readonly (number | string)[]): string {
  return `[${shape.join(", ")}]`;
}

/** Whether two shapes are the same. */
export function sameShape(a: readonly (number | string)[], b: readonly (number | string)[]): boolean {
  return a.length === b.length && a.every((d, i) => d === b[i]);
}
