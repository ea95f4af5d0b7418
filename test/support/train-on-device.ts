/**
 * Trains a small model on the CPU and on a device and prints what differs, one JSON line an adapter. Run by webgpu.test.ts in
 * a process of its own, since the Vulkan loader reads its environment when a process starts.
 * Usage: node train-on-device.ts DEVICE FOLDER (an empty one, removed by the caller)
 */
import { join } from "node:path";
import { aliveResources } from "../../src/core/base/disposal.ts";
import { must } from "../../src/core/base/errors.ts";
import { adapterSchema } from "../../src/llm/adapters/settings.ts";
import { DEVICES } from "../../src/engine/graph/onnx/emitter.ts";
import { createLocalTrainer } from "../../src/llm/training/local-trainer.ts";
import type { TrainerSetup } from "../../src/llm/training/setup.ts";
import { relativeError } from "./numbers.ts";
import { TINY_CONFIG, writeTinyLlama } from "./tiny-llama.ts";
import { randomDataset, succeeded, tinySetup, valuesOf } from "./tiny-training.ts";

const STEPS = 2;
const LENGTHS = [5, 17, 9, 24, 7, 12];

const device = must(DEVICES.find((name) => name === process.argv[2]), "a device");
const folder = must(process.argv[3], "a folder");
process.env["FEDTUNE_CACHE"] = join(folder, "cache");
const model = join(folder, "model");
writeTinyLlama(model, { config: { num_hidden_layers: 1 } });
const data = randomDataset(LENGTHS, TINY_CONFIG.vocab_size);

/** The adapters and moments of two clients, the bytes that each step copied, and a loss under the first adapter. */
async function trainTwo(setup: TrainerSetup) {
  const copied: number[] = [];
  await using trainer = await createLocalTrainer(setup, () => false);
  const adapter = await trainer.initialAdapter();
  const jobs = [Int32Array.of(3, 1, 5), Int32Array.of(0, 2, 4)].map((examples, client) => ({ client, round: 1, steps: STEPS, stepsDone: 0, totalSteps: STEPS, adapter, examples }));
  const ends = (await trainer.train(jobs, { onStep: ({ client, copiedBytes = 0 }) => void (client === 0 && copied.push(copiedBytes)) })).map((result) => succeeded(result));
  const [evaluation] = await trainer.evaluate([{ adapter: must(ends[0], "result").adapter, examples: Int32Array.of(0, 1) }], {});
  return { adapters: ends.map((end) => valuesOf(end.adapter)), moments: ends.map((end) => valuesOf(end.optimizer)), copied, nll: must(evaluation, "evaluation").nll };
}

const METHODS = [{ method: "lora", r: 32, target_modules: ["q_proj", "down_proj"] }, { method: "adalora", init_r: 4, target_r: 2, tinit: 0, tfinal: 0, deltaT: 1, target_modules: ["q_proj"] }];
for (const settings of METHODS) {
  const setup: TrainerSetup = { ...tinySetup(model, data, { clientsSideBySide: 2, tokensPerMicroBatch: 24, training: { optimizer: { name: "sgd", momentum: 0.9 }, learning_rate: 0.3 } }), adapter: adapterSchema.parse(settings) };
  const cpu = await trainTwo(setup);
  const other = await trainTwo({ ...setup, runtime: { ...setup.runtime, device } });
  const largest = (kind: "adapters" | "moments"): number => Math.max(...cpu[kind].map((values, i) => relativeError(must(other[kind][i], kind), values)));
  console.log(JSON.stringify({
    method: settings.method, adapter: largest("adapters"), moments: largest("moments"), loss: Math.abs(other.nll - cpu.nll) / cpu.nll,
    copied: other.copied, copiedOnCpu: cpu.copied, adapterBytes: must(cpu.adapters[0], "adapter").byteLength, alive: aliveResources(),
  }));
}
