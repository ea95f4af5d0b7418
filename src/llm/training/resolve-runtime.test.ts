import { availableParallelism, totalmem } from "node:os";
import { expect, test } from "vitest";
import type { MachineDevices } from "../../engine/runtime/machine-devices.ts";
import { resolveCompute, resolveRuntime } from "./resolve-runtime.ts";
import { runtimeSchema } from "./settings.ts";

const auto = runtimeSchema.parse({});

test("what a config sets is kept, but a group is never larger than a round's clients", () => {
  const settings = runtimeSchema.parse({ threads: 3, clients_side_by_side: 5, tokens_per_micro_batch: 77, base_precision: "int8" });
  expect(resolveRuntime(settings, { hiddenSize: 64, clients: 9, stepTokens: 10 })).toMatchObject({ device: "cpu", threads: 3, clientsSideBySide: 5, tokensPerMicroBatch: 77, basePrecision: "int8" });
  expect(resolveRuntime(settings, { hiddenSize: 64, clients: 2, stepTokens: 10 }).clientsSideBySide).toBe(2);
});

test("by itself it sets clients of a tiny model side by side as long as a step stays small, those of others one by one", () => {
  const side = (hiddenSize: number, stepTokens: number): number => resolveRuntime(auto, { hiddenSize, clients: 20, stepTokens }).clientsSideBySide;
  expect([side(64, 10), side(64, 120), side(64, 500), side(512, 10)]).toEqual([8, 4, 1, 1]);
  expect(resolveRuntime(auto, { hiddenSize: 64, clients: 1, stepTokens: 1 })).toMatchObject({ threads: availableParallelism(), clientsSideBySide: 1 });
});

test("a model's width decides how many tokens a pass takes", () => {
  const tokens = (hiddenSize: number): number => resolveRuntime(auto, { hiddenSize, clients: 1, stepTokens: 1 }).tokensPerMicroBatch;
  expect(tokens(64)).toBeGreaterThan(tokens(512));
});

test("activations may take as much as the base in float32, within bounds, unless a size is set or none", () => {
  const bytes = (activation_memory: string, parameters: number): number | undefined =>
    resolveRuntime(runtimeSchema.parse({ activation_memory }), { hiddenSize: 64, clients: 1, stepTokens: 1, parameters }).activationBytes;
  expect([bytes("auto", 3e6), bytes("auto", 100e6), bytes("auto", 1e12)]).toEqual([256e6, 400e6, Math.floor(totalmem() / 4)]);
  expect([bytes("512MB", 1), bytes("1.5 GB", 1), bytes("700b", 1), bytes("none", 1)]).toEqual([512e6, 1.5e9, 700, undefined]);
  for (const wrong of ["512", "MB", "-1MB", "1.MB"]) expect(() => bytes(wrong, 1)).toThrow("expected a size such as 512MB or 1.5GB");
});

test("half precision lets activations take what its base takes", () => {
  const bytes = (compute: "float32" | "float16"): number | undefined => resolveRuntime(auto, { hiddenSize: 64, clients: 1, stepTokens: 1, parameters: 200e6, compute }).activationBytes;
  expect([bytes("float32"), bytes("float16")]).toEqual([800e6, 400e6]);
});

test("compute auto is float32 on a CPU, and on a GPU the checkpoint's own half precision where the device has it", async () => {
  // Only the question that is asked is answered.
  const machine = (has: string) => ({ whyNotHalf: (_device: string, dtype: string) => Promise.resolve(dtype === has ? undefined : "lacking") }) as unknown as MachineDevices;
  const chosen = (device: "cpu" | "webgpu", checkpoint: "float32" | "float16" | "bfloat16", has: string) => resolveCompute({ compute: "auto" }, { device: { device, name: "x" }, checkpoint }, machine(has));
  expect([await chosen("cpu", "float16", "float16"), await chosen("webgpu", "float16", "float16"), await chosen("webgpu", "bfloat16", "float16"), await chosen("webgpu", "bfloat16", "bfloat16"), await chosen("webgpu", "float32", "float16")])
    .toEqual(["float32", "float16", "float32", "bfloat16", "float32"]);
  await expect(resolveCompute({ compute: "float16" }, { device: { device: "webgpu", name: "x" }, checkpoint: "float32" }, machine("nothing"))).rejects.toThrow("shader-f16");
  expect(await resolveCompute({ compute: "float16" }, { device: { device: "webgpu", name: "x" }, checkpoint: "float32" }, machine("float16"))).toBe("float16");
});
