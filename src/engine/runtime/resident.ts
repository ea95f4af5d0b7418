/**
 * Tensors that stay where a device keeps them between runs. On WebGPU that is the adapter's memory; the CPU and CUDA
 * (whose outputs the Node binding brings back) keep them on the host, behind the same interface.
 */
import { Tensor as OrtTensor } from "onnxruntime-node";
import { trackResource } from "../../core/base/disposal.ts";
import type { ArrayOf, DType, Tensor } from "../../core/base/tensor.ts";
import { bytesOf, formatShape } from "../../core/base/tensor.ts";
import type { Device } from "../graph/onnx/emitter.ts";

/** A float32 tensor to feed or to read; disposing of it frees its memory on the device. */
export interface Resident extends Disposable {
  readonly dtype: "float32";
  readonly shape: readonly number[];
  /** The values on the host; where they already lie there, the tensor itself and no copy. */
  read(): Promise<Tensor<"float32">>;
}

/** Bytes that runs have moved between the host and devices of their own memory. */
export interface MovedBytes {
  readonly toDevice: number;
  readonly toHost: number;
}

const moved = { toDevice: 0, toHost: 0 };

/** All bytes that this thread has moved so far; a CPU moves none. */
export function movedBytes(): MovedBytes {
  return { ...moved };
}

/** Whether a run's host tensors are copied to memory of the device's own. */
const hasOwnMemory = (device: Device): boolean => device !== "cpu";

// Dtypes that onnxruntime names otherwise, or does not take, are left out: no graph of ours feeds them.
const FEEDABLE = { float32: "float32", int32: "int32", int64: "int64", bool: "bool", uint8: "uint8", int8: "int8", float64: "float64" } as const;

/** Whether onnxruntime takes tensors of a dtype from JavaScript. */
export function isFeedable(dtype: string): dtype is keyof typeof FEEDABLE {
  return dtype in FEEDABLE;
}

/** A tensor of the host, kept there. */
class HostResident implements Resident {
  readonly tensor: Tensor<"float32">;
  readonly dtype = "float32";
  readonly shape: readonly number[];

  constructor(tensor: Tensor<"float32">) {
    this.tensor = tensor;
    this.shape = tensor.shape;
  }

  read(): Promise<Tensor<"float32">> {
    return Promise.resolve(this.tensor);
  }

  [Symbol.dispose](): void {
    // The garbage collector frees it.
  }
}

/** A tensor in the memory of a device. */
class DeviceResident implements Resident {
  readonly #value: OrtTensor;
  readonly #download: DeviceMemory["download"];
  readonly #released = trackResource("device tensor");
  #disposed = false;
  readonly dtype = "float32";
  readonly shape: readonly number[];

  constructor(value: OrtTensor, download: DeviceMemory["download"]) {
    this.#value = value;
    this.#download = download;
    this.shape = value.dims;
  }

  get value(): OrtTensor {
    if (this.#disposed) throw new Error(`device tensor ${this.dtype}${formatShape(this.shape)}: it was freed`);
    return this.#value;
  }

  read(): Promise<Tensor<"float32">> {
    return this.#download(this.value);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#released();
    this.#value.dispose();
  }
}

/** A tensor of the host behind the interface of those that stay on a device. */
export function hostResident(tensor: Tensor<"float32">): Resident {
  return new HostResident(tensor);
}

/** Keeps tensors in a device's memory, and brings them back. */
export interface DeviceMemory extends AsyncDisposable {
  readonly device: Device;
  /** A float32 tensor of the host in the device's memory, from where it is fed without a copy. */
  keep(tensor: Tensor<"float32">): Promise<Resident>;
  /** The values of an output that stayed there. */
  download(value: OrtTensor): Promise<Tensor<"float32">>;
}

/** An output of a run as what stays with its device. */
export function residentOf(value: OrtTensor, { device, download }: Pick<DeviceMemory, "device" | "download">): Resident {
  if (value.type !== "float32") throw new Error(`an output of dtype ${value.type} cannot stay on its device`);
  return value.location === "gpu-buffer" ? new DeviceResident(value, download) : new HostResident(realFromOrt(value, device));
}

const isTensor = (fed: Tensor | Resident): fed is Tensor => "data" in fed;

/** What onnxruntime is fed. Throws an internal error for a dtype that it does not take, naming `where`. */
export function toOrt(fed: Tensor | Resident, { device, where }: { readonly device: Device; readonly where: string }): OrtTensor {
  if (fed instanceof DeviceResident) return fed.value;
  const tensor = fed instanceof HostResident ? fed.tensor : fed;
  if (!isTensor(tensor) || !isFeedable(tensor.dtype)) throw new Error(`${where}: ${tensor.dtype} cannot be fed`);
  if (hasOwnMemory(device)) moved.toDevice += bytesOf(tensor.data).length;
  // The dtype names the array's type; the constructor's overloads cannot see that through a union.
  return new OrtTensor(tensor.dtype as "float32", tensor.data as Float32Array, tensor.shape);
}

/** Host tensors as a run on the CPU is fed them, by name; `what` they are is named in errors. */
export function toOrtFeeds(tensors: Readonly<Record<string, Tensor>>, what: string): Readonly<Record<string, OrtTensor>> {
  return Object.fromEntries(Object.entries(tensors).map(([name, fed]) => [name, toOrt(fed, { device: "cpu", where: `${what} ${name}` })]));
}

/** A float32 tensor that onnxruntime gave, its values on the host. */
export function realFromOrt(value: OrtTensor, device: Device): Tensor<"float32"> {
  const { dtype, shape, data } = fromOrt(value, device);
  if (dtype !== "float32" || !(data instanceof Float32Array)) throw new Error(`expected a float32 tensor, got ${dtype}`);
  return { dtype, shape, data };
}

/** A tensor that onnxruntime gave, its values on the host. */
export function fromOrt(value: OrtTensor, device: Device): Tensor {
  if (!isFeedable(value.type)) throw new Error(`an output has dtype ${value.type}`);
  const data = value.data as ArrayOf[DType];
  if (hasOwnMemory(device)) moved.toHost += bytesOf(data).length;
  return { dtype: value.type, shape: value.dims, data };
}
