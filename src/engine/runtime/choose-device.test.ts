import { expect, test } from "vitest";
import { chooseDevice, requireHalf } from "./choose-device.ts";
import { thisMachine } from "./machine-devices.ts";
import type { MachineDevices } from "./machine-devices.ts";

/** A machine with CUDA's files, an NVIDIA GPU and a real adapter ten times as fast as the CPU, but for `changes`. */
function machine(changes: Partial<MachineDevices> = {}): MachineDevices {
  return {
    cpuName: () => "a CPU", cudaFolder: () => "native", missingCudaFiles: () => [], nvidiaGpu: () => "H200", gpuAdapter: () => ({ name: "Arc", software: false }),
    whyNot: () => Promise.resolve(undefined), whyNotHalf: () => Promise.resolve(undefined), speedup: () => Promise.resolve(10), ...changes,
  };
}

const noCuda = { missingCudaFiles: () => ["libcuda_part.so"] };

test("auto takes CUDA where its files and a GPU are", async () => {
  expect(await chooseDevice("auto", machine())).toEqual({ device: "cuda", name: "H200" });
});

test("auto takes WebGPU where CUDA lacks files, a GPU or libraries, and a real adapter is faster", async () => {
  const webgpu = { device: "webgpu", name: "Arc" };
  expect(await chooseDevice("auto", machine(noCuda))).toEqual(webgpu);
  expect(await chooseDevice("auto", machine({ nvidiaGpu: () => undefined }))).toEqual(webgpu);
  expect(await chooseDevice("auto", machine({ whyNot: (device) => Promise.resolve(device === "cuda" ? "no cuDNN" : undefined) }))).toEqual(webgpu);
});

test("auto takes the CPU where the adapter is missing, computes in software, fails or is hardly faster", async () => {
  const cpu = { device: "cpu", name: "a CPU" };
  const forbidden = (): never => { throw new Error("not to be asked"); };
  expect(await chooseDevice("auto", machine({ ...noCuda, gpuAdapter: () => undefined, whyNot: forbidden, speedup: forbidden }))).toEqual(cpu);
  expect(await chooseDevice("auto", machine({ ...noCuda, gpuAdapter: () => ({ name: "SwiftShader", software: true }), whyNot: forbidden, speedup: forbidden }))).toEqual(cpu);
  expect(await chooseDevice("auto", machine({ ...noCuda, whyNot: () => Promise.resolve("broken"), speedup: forbidden }))).toEqual(cpu);
  expect(await chooseDevice("auto", machine({ ...noCuda, speedup: () => Promise.resolve(1.9) }))).toEqual(cpu);
});

test("CUDA without its files is refused with their names and the way to install them", async () => {
  await expect(chooseDevice("cuda", machine(noCuda))).rejects.toMatchObject({ code: "resources", message: expect.stringMatching(/libcuda_part\.so.*install\.js --onnxruntime-node-install=cuda12/) });
});

test("CUDA without a GPU, and with one that no session opens on, is refused with the reason", async () => {
  await expect(chooseDevice("cuda", machine({ nvidiaGpu: () => undefined }))).rejects.toMatchObject({ code: "resources", message: expect.stringContaining("an NVIDIA GPU with its driver, got none") });
  await expect(chooseDevice("cuda", machine({ whyNot: () => Promise.resolve("libcudnn.so.9: cannot open") }))).rejects.toMatchObject({ code: "resources", message: expect.stringContaining("libcudnn.so.9: cannot open") });
});

test("WebGPU without an adapter is refused with the reason", async () => {
  await expect(chooseDevice("webgpu", machine({ whyNot: () => Promise.resolve("No supported adapters") }))).rejects.toMatchObject({ code: "resources", message: expect.stringContaining("got No supported adapters") });
});

test("WebGPU by name takes a software adapter too", async () => {
  expect(await chooseDevice("webgpu", machine({ gpuAdapter: () => ({ name: "SwiftShader", software: true }) }))).toEqual({ device: "webgpu", name: "SwiftShader" });
});

test("a CPU opens sessions on this machine, and its files are looked for where onnxruntime's are", async () => {
  expect(await thisMachine.whyNot("cpu")).toBeUndefined();
  expect(thisMachine.cudaFolder()).toContain("onnxruntime-node");
});

test("half precision that a device lacks is refused in one line that names what is missing", async () => {
  const lacking = machine({ whyNotHalf: () => Promise.resolve("it says no") });
  const refusal = (device: "cuda" | "webgpu", dtype: "float16" | "bfloat16") => requireHalf({ device, name: "Arc" }, dtype, lacking);
  await expect(refusal("webgpu", "float16")).rejects.toMatchObject({ code: "resources", message: "runtime.compute: float16: expected an adapter with WebGPU's feature shader-f16, got Arc: it says no. Run with runtime.compute=float32." });
  await expect(refusal("webgpu", "bfloat16")).rejects.toMatchObject({ code: "resources", message: expect.stringContaining("WebGPU's shaders have no bfloat16") });
  await expect(refusal("cuda", "bfloat16")).rejects.toMatchObject({ code: "resources", message: expect.stringContaining("compute capability 8.0") });
  await expect(requireHalf({ device: "webgpu", name: "Arc" }, "float16", machine())).resolves.toBeUndefined();
});

test("the CPU of this machine computes in both half precisions, WebGPU knows no bfloat16", async () => {
  expect([await thisMachine.whyNotHalf("cpu", "float16"), await thisMachine.whyNotHalf("cpu", "bfloat16")]).toEqual([undefined, undefined]);
  expect(await thisMachine.whyNotHalf("webgpu", "bfloat16")).toContain("no such type");
});
