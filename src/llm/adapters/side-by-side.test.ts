import { join } from "node:path";
import { expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { openTiny, randomWeights, TINY_CONFIGS, writeTinyModel } from "../../../test/support/tiny-models.ts";
import { randomAdapter, randomDataset, succeeded, temporaryFolder, tinySetup, trainAlone, valuesOf } from "../../../test/support/tiny-training.ts";
import { tensor, type Tensor } from "../../core/base/tensor.ts";
import type { TrainJob } from "../training/types.ts";
import { bindAdapter } from "./all.ts";
import { adapterSchema } from "./settings.ts";

const root = temporaryFolder();
type Name = keyof typeof TINY_CONFIGS;

// Gemma adds 1 to a norm's weight, Qwen 3 norms single heads, Bloom has a norm behind its embeddings, OPT tables of positions.
const FULL: readonly Name[] = ["llama", "gemma", "qwen3", "gpt2", "bloom", "opt", "gpt_neox"];
test.each([
  ...FULL.map((name) => [name, { method: "full" }] as const),
  ["gpt2", { method: "bitfit" }], ["opt", { method: "ia3" }], ["phi3", { method: "ia3" }], ["gemma2", { method: "bottleneck", placement: "houlsby", size: 3 }],
] as const)("clients that train side by side get what each gets alone: %s %o", async (name, given) => {
  const folder = join(root, name);
  writeTinyModel(folder, TINY_CONFIGS[name]);
  const model = openTiny(TINY_CONFIGS[name]);
  const base = randomWeights(TINY_CONFIGS[name], 3);
  const settings = adapterSchema.parse(given);
  const specs = bindAdapter(settings, model).parameters;
  const setup = { ...tinySetup(folder, randomDataset([9, 4, 7, 12, 5, 3], model.vocabSize), { clientsSideBySide: 2, training: { optimizer: { name: "sgd", momentum: 0.5 }, learning_rate: 0.05 } }), adapter: settings };
  const jobs = [1, 2].map((client): TrainJob => ({
    client, round: 1, steps: 2, stepsDone: 0, totalSteps: 2, examples: client === 1 ? Int32Array.of(0, 1, 2, 3) : Int32Array.of(4, 5, 3),
    adapter: new Map([...randomAdapter(specs, client)].map(([key, t]): [string, Tensor<"float32">] => [key, tensor("float32", t.shape, t.data.map((x, i) => 0.3 * x + (base.get(key)?.data[i] ?? 0)))])),
  }));
  const together = await trainAlone(setup, jobs);
  for (const [i, job] of jobs.entries()) {
    const [a, b] = [succeeded(together[i]), succeeded((await trainAlone(setup, [job]))[0])];
    expect(relativeError(valuesOf(a.adapter), valuesOf(b.adapter))).toBeLessThan(1e-5);
    expect(relativeError(valuesOf(a.adapter), valuesOf(job.adapter))).toBeGreaterThan(1e-3);
    expect(Math.abs(a.loss - b.loss)).toBeLessThan(1e-5);
  }
});
