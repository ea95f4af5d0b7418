/** What this machine has to run graphs on: files, GPUs, adapters, and how fast they are. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { basename, dirname, join } from "node:path";
import { messageOf } from "../../core/base/errors.ts";
import { tensor, type HalfDType } from "../../core/base/tensor.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { Device } from "../graph/onnx/emitter.ts";
import { add, cast, matMul, reduceSum, silu } from "../graph/operations.ts";
import type { Value } from "../graph/value.ts";
import { openDeviceMemory } from "./device-memory.ts";
import { openSession } from "./onnx-session.ts";

/** How a machine is asked; tests answer in its place. */
export interface MachineDevices {
  cpuName(): string;
  /** Folder of onnxruntime's native files. */
  cudaFolder(): string;
  /** Names of those that CUDA needs and that are not there. */
  missingCudaFiles(): readonly string[];
  /** Name of the first NVIDIA GPU; undefined without one. */
  nvidiaGpu(): string | undefined;
  /** The adapter that WebGPU would take, as far as files tell; undefined without one. */
  gpuAdapter(): { readonly name: string; readonly software: boolean } | undefined;
  /** Why no session can be opened on a device; undefined where one can. */
  whyNot(device: Device): Promise<string | undefined>;
  /** Why a device does not compute in a half precision; undefined where it does (the CPU does, slowly: `half-on-cpu.ts`). */
  whyNotHalf(device: Device, dtype: HalfDType): Promise<string | undefined>;
  /** How many times as fast as the CPU a device computes products of `[512, 1024]` by `[1024, 1024]`. */
  speedup(device: Device): Promise<number>;
}

const CUDA_FILES = ["libonnxruntime_providers_cuda.so", "libonnxruntime_providers_shared.so"] as const;
/** How onnxruntime-node's own install script is run: package managers are not allowed to here (package.json, allowScripts). */
export const INSTALL_CUDA = "Run `node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12` (Linux x64), and have CUDA 12 and cuDNN 9 installed; or run with runtime.device=cpu";
/** Vulkan drivers that compute on the CPU: SwiftShader and Mesa's lavapipe. */
const SOFTWARE_DRIVER = /swiftshader|lvp|lavapipe|llvmpipe/i;

const list = (folder: string): readonly string[] => (existsSync(folder) ? readdirSync(folder) : []);

function cudaFolder(): string {
  const main = createRequire(import.meta.url).resolve("onnxruntime-node/package.json");
  return join(dirname(main), "bin", "napi-v6", process.platform, process.arch);
}

function nvidiaGpu(): string | undefined {
  const [first] = list("/proc/driver/nvidia/gpus");
  if (first !== undefined) return /^Model:\s*(.+)$/m.exec(readFileSync(`/proc/driver/nvidia/gpus/${first}/information`, "utf8"))?.[1] ?? "an NVIDIA GPU";
  return ["/dev/nvidia0", "/dev/dxg"].some((path) => existsSync(path)) ? "an NVIDIA GPU" : undefined;
}

/** Vulkan's driver files may be named by the environment; else the kernel's list of graphics devices tells. */
function gpuAdapter(): ReturnType<MachineDevices["gpuAdapter"]> {
  if (process.platform === "darwin") return { name: "Metal's default GPU", software: false };
  if (process.platform === "win32") return { name: "Direct3D 12's default GPU", software: false };
  const named = process.env["VK_DRIVER_FILES"] ?? process.env["VK_ICD_FILENAMES"];
  if (named !== undefined && named !== "") return { name: `Vulkan driver ${basename(named, ".json")}`, software: SOFTWARE_DRIVER.test(named) };
  const nvidia = nvidiaGpu();
  if (nvidia !== undefined) return { name: nvidia, software: false };
  const render = list("/sys/class/drm").find((name) => name.startsWith("renderD"));
  if (render === undefined) return undefined;
  const driver = /^DRIVER=(.+)$/m.exec(readFileSync(`/sys/class/drm/${render}/device/uevent`, "utf8"))?.[1];
  // Drivers of virtual displays have no GPU behind them.
  return { name: `GPU of driver ${driver ?? "unknown"}`, software: driver === "vgem" || driver === "virtio-pci" };
}

const whyNot = (device: Device): Promise<string | undefined> => whyNotRun(device, (x) => matMul(x, x, { transB: true }));

/** Casts, a product and an activation: without these kernels there is no training in half precision. */
const whyNotHalf = (device: Device, dtype: HalfDType): Promise<string | undefined> =>
  device === "webgpu" && dtype === "bfloat16" ? Promise.resolve("there is no such type") : whyNotRun(device, (x) => {
    const half = cast(x, dtype);
    return cast(add(silu(matMul(half, half, { transB: true })), 1), "float32");
  });

/** Why a device cannot run a graph of one input `[1, 2]`. */
async function whyNotRun(device: Device, result: (x: Value) => Value): Promise<string | undefined> {
  const builder = new GraphBuilder();
  builder.output("y", result(builder.input("x", "float32", [1, 2])));
  try {
    using session = await openSession(builder.finish(), { threads: 1, device });
    await session.run({ x: tensor("float32", [1, 2], Float32Array.of(2, 3)) });
    return undefined;
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    return messageOf(cause).replace(/^.*(Failed to|No supported|Error|Program \w+ requires)/s, "$1").replace(/[.\s]+$/, "").trim();
  }
}

/** Shortest time of a chain of products, in milliseconds. */
async function productMs(device: Device): Promise<number> {
  const [rows, width, products, tries] = [512, 1024, 4, 4];
  const builder = new GraphBuilder();
  const w = builder.input("w", "float32", [width, width]);
  let x = builder.input("x", "float32", [rows, width]);
  for (let i = 0; i < products; i++) x = matMul(x, w);
  builder.output("sum", reduceSum(x, [0, 1]));
  await using memory = openDeviceMemory(device);
  using session = await openSession(builder.finish(), { threads: cpus().length, device });
  const filled = (shape: readonly number[], n: number) => memory.keep(tensor("float32", shape, new Float32Array(n).fill(1 / width)));
  using kept = await filled([width, width], width * width);
  using start = await filled([rows, width], rows * width);
  let best = Infinity;
  for (let i = 0; i < tries; i++) {
    const begun = performance.now();
    await session.run({ w: kept, x: start });
    best = Math.min(best, performance.now() - begun);
  }
  return best;
}

/** The machine that this process runs on. */
export const thisMachine: MachineDevices = {
  cpuName: () => cpus()[0]?.model.trim() ?? "unknown",
  cudaFolder,
  missingCudaFiles: () => CUDA_FILES.filter((file) => !existsSync(join(cudaFolder(), file))),
  nvidiaGpu,
  gpuAdapter,
  whyNot,
  whyNotHalf,
  speedup: async (device) => (await productMs("cpu")) / (await productMs(device)),
};
