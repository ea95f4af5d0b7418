/** The whole path on the real engine, with one worker thread and with several: the same adapter, byte for byte. Runs as processes, as a user's would. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { runFedtune } from "../tools/kill-resume/processes.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const output = mkdtempSync(join(tmpdir(), "fedtune-workers-"));
afterAll(() => rmSync(output, { recursive: true, force: true }));

const SHORT = ["federation.rounds=2", "training.local_steps=2", "training.batch_size=3", "compare=[federated]", "samples.prompts=[]", "data.max_tokens=48", "runtime.threads=1"];

async function adapterOf(name: string, overrides: readonly string[]): Promise<Buffer> {
  const folder = join(output, name);
  const ended = await runFedtune(["run", "assets/demo.yaml", ...SHORT, `output=${folder}`, ...overrides], { cwd: root });
  expect(ended.code, ended.output).toBe(0);
  return readFileSync(join(folder, readdirSync(folder)[0] ?? "", "adapter", "adapter_model.safetensors"));
}

test("one worker and two give the same adapter bytes, also where clients train side by side", async () => {
  const one = await adapterOf("one", []);
  expect((await adapterOf("two", ["runtime.workers=2"])).equals(one)).toBe(true);
  const sideBySide = "runtime.clients_side_by_side=3";
  const grouped = await adapterOf("grouped", [sideBySide]);
  expect((await adapterOf("grouped-two", [sideBySide, "runtime.workers=2"])).equals(grouped)).toBe(true);
  expect((await adapterOf("seed", ["seed=2"])).equals(one)).toBe(false);
}, 120_000);
