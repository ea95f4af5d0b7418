import { availableParallelism } from "node:os";
import { expect, test } from "vitest";
import { resolveRuntime } from "./resolve-runtime.ts";
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
