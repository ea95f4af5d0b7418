import { join } from "node:path";
import { expect, test } from "vitest";
import { TINY_CONFIG, writeTinyLlama } from "../../../test/support/tiny-llama.ts";
import { randomDataset, temporaryFolder, tinySetup } from "../../../test/support/tiny-training.ts";
import { aliveResources } from "../../core/base/disposal.ts";
import { openModel } from "./local-trainer.ts";
import { SessionPool } from "./session-pool.ts";

test("where the base cannot be read, neither a session nor its replica opens, and nothing of them is left", async () => {
  const folder = join(temporaryFolder(), "model");
  writeTinyLlama(folder);
  const setup = tinySetup(folder, randomDataset([5, 9], TINY_CONFIG.vocab_size));
  const { model, adapter, sessions } = await openModel(setup);
  await sessions[Symbol.asyncDispose]();
  const weights = { folder, locate: () => ({ file: "no such file", offset: 0, length: 4 }) };
  const before = aliveResources("replica");
  const pool = new SessionPool({ model, adapter, weights, runtime: { ...setup.runtime, threads: 2, dataParallel: 2 }, training: setup.training, packTokens: setup.packTokens });
  await expect(pool.train(1)).rejects.toThrow("no such file");
  await pool[Symbol.asyncDispose]();
  expect(aliveResources("replica")).toBe(before);
});
