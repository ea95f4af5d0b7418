import { expect, test } from "vitest";
import { TINY_CONFIGS, openTiny } from "../../../test/support/tiny-models.ts";
import { elementCount, type ComputeDType } from "../../core/base/tensor.ts";
import { bindAdapter } from "../adapters/all.ts";
import { adapterSchema } from "../adapters/settings.ts";
import { flatSize } from "./flat.ts";
import { activationBudget, expectedDeviceBytes } from "./pass-sizes.ts";
import { trainingSchema } from "./settings.ts";
import type { ResolvedRuntime } from "./setup.ts";

const model = openTiny(TINY_CONFIGS.llama);
const adapter = bindAdapter(adapterSchema.parse({ r: 3, target_modules: "all-linear" }), model);
const training = trainingSchema.parse({});

function expected(compute: ComputeDType, changes: Partial<ResolvedRuntime> = {}): number {
  const runtime: ResolvedRuntime = { device: "webgpu", threads: 1, basePrecision: "float32", compute, clientsSideBySide: 1, tokensPerMicroBatch: 96, ...changes };
  return expectedDeviceBytes(model, { runtime, packTokens: 24, adapter }, training);
}

test("half precision halves the base and takes much off the values of a pass, and leaves the adapter's float32", () => {
  const own = 4 * flatSize(adapter.parameters) * 5;
  const base = 4 * model.tensors.reduce((n, { shape }) => n + elementCount(shape), 0);
  const [single, half] = [expected("float32") - own, expected("float16") - own];
  expect(half).toBeLessThan(0.75 * single);
  expect(half - base / 2).toBeGreaterThan(0.4 * (single - base));
  expect(expected("bfloat16")).toBe(expected("float16"));
});

test("more tokens and more clients in a pass take more, a budget takes less", () => {
  expect(expected("float16", { tokensPerMicroBatch: 48 })).toBeLessThan(expected("float16"));
  expect(expected("float16", { clientsSideBySide: 2 })).toBeGreaterThan(expected("float16"));
  expect(expected("float16", { activationBytes: 1 })).toBeLessThan(expected("float16"));
});

test("a budget is shared by the passes that run at the same time; how logits are cut goes by all of it", () => {
  const runtime: ResolvedRuntime = { device: "cpu", threads: 2, basePrecision: "float32", compute: "float32", clientsSideBySide: 1, tokensPerMicroBatch: 96, activationBytes: 1001 };
  const budget = (changes: Partial<ResolvedRuntime>) => activationBudget({ runtime: { ...runtime, ...changes }, packTokens: 24, adapter }, 1);
  expect([budget({}), budget({ dataParallel: 2 })]).toMatchObject([{ bytes: 1001, allBytes: 1001 }, { bytes: 500, allBytes: 1001 }]);
});
