/** Copies between the host and a device's memory by a model that does nothing else: the Node binding has no other way. */
import { InferenceSession } from "onnxruntime-node";
import type { Tensor as OrtTensor } from "onnxruntime-node";
import { must } from "../../core/base/errors.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { encodeOnnx } from "../graph/onnx/encode.ts";
import type { Device } from "../graph/onnx/emitter.ts";
import { stopGradient } from "../graph/operations.ts";
import { deviceOptions } from "./device-options.ts";
import { realFromOrt, hostResident, residentOf, toOrt } from "./resident.ts";
import type { DeviceMemory, Resident } from "./resident.ts";

/** The CPU's memory, and CUDA's, whose outputs the Node binding brings to the host: nothing to copy by. */
function hostMemory(device: Device): DeviceMemory {
  return {
    device,
    keep: (tensor) => Promise.resolve(hostResident(tensor)),
    download: (value) => Promise.resolve(realFromOrt(value, device)),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

class BufferMemory implements DeviceMemory {
  readonly device = "webgpu";
  readonly #sessions = new Map<string, Promise<InferenceSession>>();

  /** A model whose output is its input: from the host to the device, or back. */
  #copier(rank: number, to: "device" | "host"): Promise<InferenceSession> {
    const key = `${to} ${rank}`;
    let session = this.#sessions.get(key);
    if (session === undefined) {
      const builder = new GraphBuilder();
      builder.output("copy", stopGradient(builder.input("value", "float32", Array.from({ length: rank }, (_, i) => `D${i}`))));
      const model = encodeOnnx(builder.finish(), (name) => { throw new Error(`no weight ${name}`); }, { device: this.device });
      session = InferenceSession.create(model, { ...deviceOptions(this.device), ...(to === "device" ? { preferredOutputLocation: "gpu-buffer" } : {}) });
      this.#sessions.set(key, session);
    }
    return session;
  }

  async keep(tensor: Tensor<"float32">): Promise<Resident> {
    const session = await this.#copier(tensor.shape.length, "device");
    const { copy } = await session.run({ value: toOrt(tensor, { device: this.device, where: "device memory" }) });
    return residentOf(must(copy, "copy"), this);
  }

  readonly download = async (value: OrtTensor): Promise<Tensor<"float32">> => {
    const session = await this.#copier(value.dims.length, "host");
    const { copy } = await session.run({ value });
    return realFromOrt(must(copy, "copy"), this.device);
  };

  async [Symbol.asyncDispose](): Promise<void> {
    const sessions = [...this.#sessions.values()];
    this.#sessions.clear();
    for (const session of sessions) await (await session).release();
  }
}

/** The memory of a device. Models that copy are opened when they are first needed. */
export function openDeviceMemory(device: Device): DeviceMemory {
  return device === "webgpu" ? new BufferMemory() : hostMemory(device);
}
