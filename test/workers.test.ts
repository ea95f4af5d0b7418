/** The whole path on the real engine, with one worker thread and with several: the same adapter, byte for byte. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { loadExperiment } from "../src/app/experiment/load.ts";
import { run } from "../src/app/experiment/run.ts";
import { aliveResources } from "../src/core/base/disposal.ts";

const output = mkdtempSync(join(tmpdir(), "fedtune-workers-"));
afterAll(() => rmSync(output, { recursive: true, force: true }));

const SHORT = ["federation.rounds=2", "training.local_steps=2", "training.batch_size=3", "baselines=[local]", "samples.prompts=[]", "data.max_tokens=48"];

async function adapterOf(name: string, overrides: readonly string[]): Promise<Buffer> {
  const running = run(loadExperiment(fileURLToPath(new URL("../assets/demo.yaml", import.meta.url)), [...SHORT, `output=${join(output, name)}`, ...overrides]));
  for await (const _event of running);
  return readFileSync(join(running.folder, "adapter", "adapter_model.safetensors"));
}

test("one worker and two give the same adapter bytes, also where clients train side by side", async () => {
  const one = await adapterOf("one", ["runtime.threads=1"]);
  expect((await adapterOf("two", ["runtime.threads=1", "runtime.workers=2"])).equals(one)).toBe(true);
  const sideBySide = ["runtime.threads=1", "runtime.clients_side_by_side=3"];
  const grouped = await adapterOf("grouped", sideBySide);
  expect((await adapterOf("grouped-two", [...sideBySide, "runtime.workers=2"])).equals(grouped)).toBe(true);
  expect((await adapterOf("seed", ["runtime.threads=1", "seed=2"])).equals(one)).toBe(false);
  expect(aliveResources()).toBe(0);
}, 120_000);
