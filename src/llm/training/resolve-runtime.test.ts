import { availableParallelism, totalmem } from "node:os";
import { expect, test } from "vitest";
import type { MachineDevices } from "../../engine/runtime/machine-devices.ts";
import { holdPrecision, requireExact, resolveCompute, resolveRuntime } from "./resolve-runtime.ts";
import { runtimeSchema } from "./settings.ts";

const auto = runtimeSchema.parse({});

test("what a config sets is kept, but a group is never larger than a round's clients", async () => {
  const settings = runtimeSchema.parse({ threads: 3, clients_side_by_side: 5, tokens_per_micro_batch: 77, base_precision: "int4" });
  expect(await resolveRuntime(settings, { hiddenSize: 64, clients: 9, stepTokens: 10 })).toMatchObject({ device: "cpu", threads: 3, clientsSideBySide: 5, tokensPerMicroBatch: 77, basePrecision: "int4" });
  expect((await resolveRuntime(settings, { hiddenSize: 64, clients: 2, stepTokens: 10 })).clientsSideBySide).toBe(2);
});

test("by itself it sets clients of a tiny model side by side as long as a step stays small, those of others one by one", async () => {
  const side = async (hiddenSize: number, stepTokens: number): Promise<number> => (await resolveRuntime(auto, { hiddenSize, clients: 20, stepTokens })).clientsSideBySide;
  expect([await side(64, 10), await side(64, 120), await side(64, 500), await side(512, 10)]).toEqual([8, 4, 1, 1]);
  expect(await resolveRuntime(auto, { hiddenSize: 64, clients: 1, stepTokens: 1 })).toMatchObject({ threads: availableParallelism(), clientsSideBySide: 1 });
});

test("a model's width decides how many tokens a pass takes", async () => {
  const tokens = async (hiddenSize: number): Promise<number> => (await resolveRuntime(auto, { hiddenSize, clients: 1, stepTokens: 1 })).tokensPerMicroBatch;
  expect(await tokens(64)).toBeGreaterThan(await tokens(512));
});

test("a pass takes fewer tokens where the budget for activations would not hold those of more, on a CPU", async () => {
  /** The linear modules of so many layers of a Llama, and an output embedding, which takes no part. */
  const layers = (count: number, { width, keys, inner }: { readonly width: number; readonly keys: number; readonly inner: number }) => {
    const module = (inFeatures: number, outFeatures: number) => ({ inFeatures, outFeatures, isHead: false });
    const layer = [module(width, width), module(width, keys), module(width, keys), module(width, width), module(width, inner), module(width, inner), module(inner, width)];
    return [...Array.from({ length: count }, () => layer).flat(), { inFeatures: width, outFeatures: 50_000, isHead: true }];
  };
  const tokens = async (facts: Partial<Parameters<typeof resolveRuntime>[1]>, activation_memory = "auto"): Promise<number> =>
    (await resolveRuntime(runtimeSchema.parse({ activation_memory }), { hiddenSize: 576, clients: 1, stepTokens: 1, ...facts })).tokensPerMicroBatch;
  const small = { linears: layers(8, { width: 512, keys: 128, inner: 1408 }), parameters: 26e6 };
  const large = { linears: layers(30, { width: 576, keys: 192, inner: 1536 }), parameters: 135e6 };
  expect([await tokens(small), await tokens(large), await tokens({ ...large, device: "webgpu" }), await tokens(large, "none"), await tokens(large, "640MB"), await tokens(large, "600MB")]).toEqual([512, 256, 512, 512, 512, 256]);
});

test("activations may take half of the base in float32, within bounds, unless a size is set or none", async () => {
  const bytes = async (activation_memory: string, parameters: number): Promise<number | undefined> =>
    (await resolveRuntime(runtimeSchema.parse({ activation_memory }), { hiddenSize: 64, clients: 1, stepTokens: 1, parameters })).activationBytes;
  expect([await bytes("auto", 3e6), await bytes("auto", 200e6), await bytes("auto", 1e12)]).toEqual([256e6, 400e6, Math.floor(totalmem() / 4)]);
  expect([await bytes("512MB", 1), await bytes("1.5 GB", 1), await bytes("700b", 1), await bytes("none", 1)]).toEqual([512e6, 1.5e9, 700, undefined]);
  for (const wrong of ["512", "MB", "-1MB", "1.MB"]) await expect(bytes(wrong, 1)).rejects.toThrow("expected a size such as 512MB or 1.5GB");
});

test("on a rounded base activations may take half of what it saves besides; more where a step has several passes", async () => {
  const linears = [{ inFeatures: 10_000, outFeatures: 20_000, isHead: false }, { inFeatures: 1000, outFeatures: 50_000, isHead: true }];
  const bytes = async (base_precision: string, stepTokens = 512): Promise<number | undefined> => (await resolveRuntime(runtimeSchema.parse({ base_precision }), { hiddenSize: 576, clients: 1, stepTokens, parameters: 250e6, linears })).activationBytes;
  expect([await bytes("float32"), await bytes("int8"), await bytes("int4")]).toEqual([500e6, 500e6 + 0.5 * (200e6 * 2 - 50e6 * 2), 500e6 + 0.5 * 200e6 * 3.375]);
  expect([await bytes("float32", 513), await bytes("int8", 513)]).toEqual([625e6, 775e6]);
  const half = await resolveRuntime(runtimeSchema.parse({ base_precision: "int4" }), { hiddenSize: 64, clients: 1, stepTokens: 1, parameters: 500e6, linears, compute: "float16" });
  expect(half.activationBytes).toBe(500e6 + 0.5 * 200e6 * 1.375);
});

test("passes of a step go side by side where there are several, on threads to share out, one trainer and a base that is a small part of the memory", async () => {
  const resolved = async (settings: object, facts: Partial<Parameters<typeof resolveRuntime>[1]> = {}) =>
    await resolveRuntime(runtimeSchema.parse({ threads: 4, base_precision: "int4", ...settings }), { hiddenSize: 576, clients: 1, stepTokens: 1024, parameters: 135e6, ...facts });
  const sessions = async (...args: Parameters<typeof resolved>): Promise<number | undefined> => (await resolved(...args)).dataParallel;
  expect(await sessions({})).toBe(2);
  expect(await sessions({}, { stepTokens: 500 })).toBeUndefined();
  expect(await sessions({}, { hiddenSize: 64 })).toBeUndefined();
  expect(await sessions({}, { device: "webgpu" })).toBeUndefined();
  expect(await sessions({ threads: 1 })).toBeUndefined();
  expect(await sessions({ base_precision: "float32" })).toBe(2);
  expect(await sessions({}, { workers: 2 })).toBeUndefined();
  // One row is one pass, however long it is.
  expect([await sessions({}, { rowTokens: 1024 }), await sessions({}, { rowTokens: 1023 })]).toEqual([undefined, 2]);
  const parameters = Math.min(4e9, totalmem() / 8) / 4;
  expect([await sessions({}, { parameters: 0.99 * parameters }), await sessions({}, { parameters: 1.01 * parameters })]).toEqual([2, undefined]);
  expect([await sessions({ data_parallel: 3, base_precision: "float32" }), await sessions({ data_parallel: 9 }), await sessions({ data_parallel: 1 }), await sessions({ data_parallel: 2, threads: 1 })]).toEqual([3, 4, undefined, undefined]);
});

test("8 bits are held in the first form whose products are exact, other precisions as asked", async () => {
  const exactIn = (...dtypes: readonly string[]) => (dtype: string): Promise<boolean> => Promise.resolve(dtypes.includes(dtype));
  expect(await holdPrecision("int8", exactIn("int8", "uint8"))).toBe("int8");
  expect(await holdPrecision("int8", exactIn("uint8"))).toBe("uint8");
  expect([await holdPrecision("float32", exactIn()), await holdPrecision("int4", exactIn())]).toEqual(["float32", "int4"]);
  await expect(holdPrecision("int8", exactIn())).rejects.toThrow("runtime.base_precision: int8: expected a processor on which onnxruntime multiplies bytes exactly, got wrong sums in every form");
});

test("a form that another machine resolved is refused where its products are wrong", async () => {
  const onlyUnsigned = (dtype: string): Promise<boolean> => Promise.resolve(dtype === "uint8");
  await expect(requireExact("int8", onlyUnsigned)).rejects.toThrow("8-bit base: expected exact products with int8 weights, as resolved when the run started, got sums that saturate on this machine");
  for (const held of ["uint8", "float32", "int4"] as const) await requireExact(held, onlyUnsigned);
});

test("on this machine a resolved base of 8 bits is exact", async () => {
  const { basePrecision } = await resolveRuntime(runtimeSchema.parse({ base_precision: "int8" }), { hiddenSize: 64, clients: 1, stepTokens: 1 });
  await requireExact(basePrecision);
  expect(["int8", "uint8"]).toContain(basePrecision);
});

test("half precision lets activations take half of what its base takes", async () => {
  const bytes = async (compute: "float32" | "float16"): Promise<number | undefined> => (await resolveRuntime(auto, { hiddenSize: 64, clients: 1, stepTokens: 1, parameters: 300e6, compute })).activationBytes;
  expect([await bytes("float32"), await bytes("float16")]).toEqual([600e6, 300e6]);
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
