/** WebGPU in processes of their own: ops, and training. Skipped where no Vulkan driver is found. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { must } from "../src/core/base/errors.ts";
import { z } from "zod";
import { NO_DRIVER, vulkanEnvironment } from "./support/vulkan-driver.ts";

const env = vulkanEnvironment();
const run = promisify(execFile);
/** Shaders are compiled on the CPU. */
const PATIENCE_MS = 120_000;

/** The JSON lines that a script prints. */
async function linesOf(script: string, ...args: readonly string[]): Promise<readonly unknown[]> {
  const { stdout } = await run(process.execPath, [join(import.meta.dirname, script), ...args], { env: must(env, "a driver") });
  return stdout.trim().split("\n").map((line): unknown => JSON.parse(line));
}

const trainedSchema = z.object({ method: z.string(), adapter: z.number(), moments: z.number(), loss: z.number(), copied: z.array(z.number()), copiedOnCpu: z.array(z.number()), adapterBytes: z.number(), alive: z.number() });

const halfSchema = z.union([z.object({ refusal: z.string(), code: z.string() }), z.object({ change: z.number(), loss: z.number(), copied: z.array(z.number()), adapterBytes: z.number() })]);

if (env === undefined) console.log(`WebGPU: skipped, ${NO_DRIVER}`);

describe.skipIf(env === undefined)("on WebGPU", () => {
  test("ops that have a form of their own there give the value and the gradient of the reference", async () => {
    const [summary] = await linesOf("../tools/check-device.ts", "--device", "webgpu", "--only", "RmsNorm,Sin,Cos,Or,Split,ScatterRows,LinearCrossEntropy");
    expect(summary).toMatchObject({ device: "webgpu", failed: 0 });
  }, PATIENCE_MS);

  test("training gives the CPU's adapters and moments, copies no adapter between steps and leaves nothing alive", async () => {
    const folder = mkdtempSync(join(tmpdir(), "fedtune-webgpu-"));
    try {
      const [lora, adalora] = (await linesOf("support/train-on-device.ts", "webgpu", folder)).map((line) => trainedSchema.parse(line));
      for (const result of [lora, adalora]) {
        expect(must(result, "result").adapter).toBeLessThan(1e-4);
        expect(must(result, "result").moments).toBeLessThan(1e-4);
        expect(must(result, "result").loss).toBeLessThan(1e-5);
        expect(result).toMatchObject({ alive: 0, copiedOnCpu: [0, 0] });
      }
      // Batches and scalars only: the group's two adapters alone would be twice adapterBytes, in each direction.
      for (const bytes of must(lora, "lora").copied) expect(bytes).toBeLessThan(must(lora, "lora").adapterBytes);
      // AdaLoRA changes its tensors on the host between steps.
      for (const bytes of must(adalora, "adalora").copied) expect(bytes).toBeGreaterThan(must(adalora, "adalora").adapterBytes);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, PATIENCE_MS);

  test("float16 trains as on the CPU but for rounding and copies no adapter, or is refused by the feature that the adapter lacks", async () => {
    const folder = mkdtempSync(join(tmpdir(), "fedtune-webgpu-"));
    try {
      const [result] = (await linesOf("support/half-on-device.ts", "webgpu", folder)).map((line) => halfSchema.parse(line));
      if ("refusal" in must(result, "result")) {
        expect(result).toMatchObject({ code: "resources", refusal: expect.stringMatching(/^runtime\.compute: float16: expected an adapter with WebGPU's feature shader-f16, got the adapter: Program Cast requires f16/) });
      } else {
        expect(result).toMatchObject({ change: expect.toSatisfy((x: number) => x < 3e-2), loss: expect.toSatisfy((x: number) => x < 2e-3) });
        const { copied, adapterBytes } = z.object({ copied: z.array(z.number()), adapterBytes: z.number() }).parse(result);
        expect(copied.map((bytes) => bytes < adapterBytes)).toEqual([true, true]);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, PATIENCE_MS);
});
