/**
 * Which device a run uses. `auto` takes CUDA where its files and a GPU are, else WebGPU where a real adapter is at least
 * twice as fast as the CPU in a product measured on the spot, else the CPU; never a software adapter.
 */
import { FedtuneError } from "../../core/base/errors.ts";
import type { HalfDType } from "../../core/base/tensor.ts";
import type { Device } from "../graph/onnx/emitter.ts";
import { INSTALL_CUDA, thisMachine } from "./machine-devices.ts";
import type { MachineDevices } from "./machine-devices.ts";

/** A device and what it is called on this machine. */
export interface ChosenDevice {
  readonly device: Device;
  /** The adapter's name, as far as the machine tells it. */
  readonly name: string;
}

/** Copies and start-up eat a smaller gain. */
const WORTHWHILE_SPEEDUP = 2;

/**
 * The device that a setting asks for.
 * @throws FedtuneError("resources") where a device that is asked for by name is not there, saying what is missing
 */
export async function chooseDevice(wanted: Device | "auto", machine: MachineDevices = thisMachine): Promise<ChosenDevice> {
  const cpu: ChosenDevice = { device: "cpu", name: machine.cpuName() };
  switch (wanted) {
    case "cpu":
      return cpu;
    case "cuda":
      return await requireCuda(machine);
    case "webgpu":
      return await requireWebGpu(machine);
    case "auto": {
      if (machine.missingCudaFiles().length === 0 && machine.nvidiaGpu() !== undefined && (await machine.whyNot("cuda")) === undefined) return { device: "cuda", name: machine.nvidiaGpu() ?? "" };
      const adapter = machine.gpuAdapter();
      if (adapter === undefined || adapter.software || (await machine.whyNot("webgpu")) !== undefined) return cpu;
      return (await machine.speedup("webgpu")) >= WORTHWHILE_SPEEDUP ? { device: "webgpu", name: adapter.name } : cpu;
    }
    default:
      return wanted satisfies never;
  }
}

async function requireCuda(machine: MachineDevices): Promise<ChosenDevice> {
  const where = "runtime.device: cuda";
  const missing = machine.missingCudaFiles();
  const gpu = machine.nvidiaGpu();
  if (missing.length > 0) {
    const noGpu = gpu === undefined ? "; nor is an NVIDIA GPU seen here" : "";
    throw new FedtuneError("resources", { where, expected: `onnxruntime's CUDA files beside its own (${machine.cudaFolder()})`, got: `no ${missing.join(", no ")}${noGpu}`, remedy: INSTALL_CUDA, details: { missing } });
  }
  if (gpu === undefined) throw new FedtuneError("resources", { where, expected: "an NVIDIA GPU with its driver", got: "none (no /proc/driver/nvidia/gpus, /dev/nvidia0 or /dev/dxg)", remedy: "Install the driver, or run with runtime.device=cpu" });
  const reason = await machine.whyNot("cuda");
  if (reason !== undefined) throw new FedtuneError("resources", { where, expected: `a session on ${gpu}`, got: reason, remedy: "Install CUDA 12 and cuDNN 9 where the loader finds them (LD_LIBRARY_PATH), or run with runtime.device=cpu" });
  return { device: "cuda", name: gpu };
}

async function requireWebGpu(machine: MachineDevices): Promise<ChosenDevice> {
  const reason = await machine.whyNot("webgpu");
  if (reason === undefined) return { device: "webgpu", name: machine.gpuAdapter()?.name ?? "an adapter of unknown name" };
  throw new FedtuneError("resources", {
    where: "runtime.device: webgpu", expected: "a graphics adapter (on Linux a Vulkan driver and libvulkan.so.1)", got: reason,
    remedy: "Install the graphics driver and the Vulkan loader (libvulkan1), or run with runtime.device=cpu",
  });
}

/** What a device must have to compute in half precision, in the words of its makers. */
function halfNeeds(device: Device, dtype: HalfDType): string {
  if (device === "webgpu") return dtype === "float16" ? "an adapter with WebGPU's feature shader-f16" : "float16 or float32: WebGPU's shaders have no bfloat16";
  return dtype === "float16" ? "an NVIDIA GPU with float16 products (compute capability 5.3 or later)" : "an NVIDIA GPU with bfloat16 (compute capability 8.0 or later)";
}

/**
 * Refuses a half precision that a device does not compute in.
 * @throws FedtuneError("resources") that says what is missing
 */
export async function requireHalf({ device, name }: ChosenDevice, dtype: HalfDType, machine: MachineDevices = thisMachine): Promise<void> {
  const reason = await machine.whyNotHalf(device, dtype);
  if (reason === undefined) return;
  throw new FedtuneError("resources", { where: `runtime.compute: ${dtype}`, expected: halfNeeds(device, dtype), got: `${name}: ${reason}`, remedy: "Run with runtime.compute=float32" });
}
