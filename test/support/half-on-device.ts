/**
 * Trains a small model in float16 on the CPU and on a device and prints what differs as a JSON line, or the line by which the
 * device refuses. Run by webgpu.test.ts in a process of its own.
 * Usage: node half-on-device.ts DEVICE FOLDER (an empty one, removed by the caller)
 */
import { join } from "node:path";
import { FedtuneError, must } from "../../src/core/base/errors.ts";
import { DEVICES, type Device } from "../../src/engine/graph/onnx/emitter.ts";
import { requireHalf } from "../../src/engine/runtime/choose-device.ts";
import { createLocalTrainer } from "../../src/llm/training/local-trainer.ts";
import { relativeError } from "./numbers.ts";
import { TINY_CONFIG, writeTinyLlama } from "./tiny-llama.ts";
import { randomDataset, succeeded, tinySetup, valuesOf } from "./tiny-training.ts";

const device = must(DEVICES.find((name) => name === process.argv[2]), "a device");
const folder = must(process.argv[3], "a folder");
process.env["FEDTUNE_CACHE"] = join(folder, "cache");
const model = join(folder, "model");
writeTinyLlama(model, { dtype: "float16", config: { num_hidden_layers: 1 } });

async function train(on: Device) {
  const setup = tinySetup(model, randomDataset([5, 17, 9, 24, 7, 12], TINY_CONFIG.vocab_size), { adapter: { r: 32, target_modules: ["q_proj", "down_proj"] }, training: { optimizer: { name: "sgd", momentum: 0.9 }, learning_rate: 0.3 } });
  const copied: number[] = [];
  await using trainer = await createLocalTrainer({ ...setup, runtime: { ...setup.runtime, device: on, compute: "float16" } }, () => false);
  const adapter = await trainer.initialAdapter();
  const job = { client: 0, round: 1, steps: 2, stepsDone: 0, totalSteps: 2, adapter, examples: Int32Array.of(3, 1, 5) };
  const [result] = await trainer.train([job], { onStep: ({ copiedBytes = 0 }) => void copied.push(copiedBytes) });
  return { start: valuesOf(adapter), end: succeeded(result), copied };
}

try {
  await requireHalf({ device, name: "the adapter" }, "float16");
  const [cpu, other] = [await train("cpu"), await train(device)];
  const moved = ({ start, end }: typeof cpu): Float32Array => valuesOf(end.adapter).map((x, i) => x - (start[i] ?? 0));
  console.log(JSON.stringify({ change: relativeError(moved(other), moved(cpu)), loss: Math.abs(other.end.loss / cpu.end.loss - 1), copied: other.copied, adapterBytes: cpu.start.byteLength }));
} catch (error) {
  if (!(error instanceof FedtuneError)) throw error;
  console.log(JSON.stringify({ refusal: error.message, code: error.code }));
}
