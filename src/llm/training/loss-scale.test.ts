import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { TINY_CONFIG, writeTinyLlama } from "../../../test/support/tiny-llama.ts";
import { failed, randomAdapter, randomDataset, succeeded, temporaryFolder, tinySetup, valuesOf, type TinySetup } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { HALF_DTYPES, tensor, type ComputeDType, type NamedTensors } from "../../core/base/tensor.ts";
import { bindAdapter } from "../adapters/all.ts";
import { llama } from "../architectures/llama.ts";
import { createLocalTrainer } from "./local-trainer.ts";
import { afterOverflow, afterTaken, startScale } from "./loss-scale.ts";
import type { StepReport, TrainJob, TrainResult } from "./types.ts";

const folder = join(temporaryFolder(), "model");
const CONFIG = { ...TINY_CONFIG, num_hidden_layers: 1 };
writeTinyLlama(folder, { dtype: "float16", config: CONFIG });
const LENGTHS = [5, 17, 9, 24, 7, 12];
const data = randomDataset(LENGTHS, TINY_CONFIG.vocab_size);
const SGD = { optimizer: { name: "sgd", momentum: 0.5 }, learning_rate: 0.3 };

function setupOf(compute: ComputeDType, training: Readonly<Record<string, unknown>> = SGD): TinySetup {
  const setup = tinySetup(folder, data, { training, clientsSideBySide: 2 });
  return { ...setup, runtime: { ...setup.runtime, compute } };
}

function job({ adapter }: TinySetup, changes: Partial<TrainJob> = {}): TrainJob {
  const start = randomAdapter(bindAdapter(adapter, llama.open(CONFIG, "test")).parameters);
  return { client: 0, round: 1, steps: 3, stepsDone: 0, totalSteps: 10, adapter: start, examples: Int32Array.from(LENGTHS.keys()), ...changes };
}

async function train(setup: TinySetup, jobs: readonly TrainJob[]): Promise<{ readonly results: readonly TrainResult[]; readonly reports: readonly StepReport[] }> {
  const reports: StepReport[] = [];
  await using trainer = await createLocalTrainer(setup, () => false);
  return { results: await trainer.train(jobs, { onStep: (report) => reports.push(report) }), reports };
}

/** The optimiser's state of a client that has just begun, but for its loss scale. */
const scaledBy = (scale: number): NamedTensors<"float32"> => new Map([["loss_scale", tensor("float32", [2], Float32Array.of(scale, 0))]]);

test("only float16 scales a loss; a scale that overflows falls until none is left, one that holds rises after many steps", () => {
  expect([startScale("float32").scale, startScale("bfloat16").scale, startScale("float16").scale]).toEqual([1, 1, 1024]);
  const falling: number[] = [];
  for (let s: ReturnType<typeof afterOverflow> = startScale("float16"); s !== undefined; s = afterOverflow(s)) falling.push(s.scale);
  expect(falling).toEqual([1024, 256, 64, 16, 4, 1, 1 / 4, 1 / 16, 1 / 64, 1 / 256, 1 / 1024]);
  let scale = startScale("float16");
  for (let step = 0; step < 499; step++) scale = afterTaken(scale);
  expect([scale.scale, afterTaken(scale).scale]).toEqual([1024, 2048]);
});

test.each(HALF_DTYPES)("training in %s follows float32 as closely as its rounding lets it", async (dtype) => {
  const [exact, half] = [await train(setupOf("float32"), [job(setupOf("float32"))]), await train(setupOf(dtype), [job(setupOf(dtype))])];
  const [a, b] = [succeeded(half.results[0]), succeeded(exact.results[0])];
  const start = valuesOf(job(setupOf("float32")).adapter);
  const moved = (result: typeof a): Float32Array => valuesOf(result.adapter).map((x, i) => x - (start[i] ?? 0));
  const unit = dtype === "float16" ? 2 ** -11 : 2 ** -8;
  expect(relativeError(moved(a), moved(b))).toBeLessThan(16 * unit);
  expect(relativeError(moved(a), moved(b))).toBeGreaterThan(unit / 50);
  expect(Math.abs(a.loss / b.loss - 1)).toBeLessThan(2 * unit);
  expect(half.reports.map(({ lossScale }) => lossScale)).toEqual(dtype === "float16" ? [1024, 1024, 1024] : [undefined, undefined, undefined]);
});

describe("a gradient that overflows in float16", () => {
  test("is made again under a lower scale, which is reported and kept; no step is lost, and a neighbour gets the bytes of a group without the fault", async () => {
    const setup = setupOf("float16");
    const jobs = [job(setup, { client: 3 }), job(setup, { client: 5 })];
    const sound = await train(setup, jobs);
    const { results, reports } = await train(setup, jobs.map((one, i) => (i === 0 ? { ...one, optimizer: scaledBy(2 ** 20) } : one)));
    const scales = reports.filter(({ client }) => client === 3).map(({ lossScale }) => must(lossScale, "scale"));
    expect(scales[0]).toBeLessThan(2 ** 20);
    expect(scales).toEqual(scales.toSorted((a, b) => b - a));
    const [first, second] = results.map((result) => succeeded(result));
    expect([first?.steps, first?.skippedSteps]).toEqual([3, 0]);
    expect(first?.optimizer.get("loss_scale")?.data[0]).toBe(scales.at(-1));
    // The scale changes only what float16 can hold.
    expect(relativeError(valuesOf(must(first, "first").adapter), valuesOf(succeeded(sound.results[0]).adapter))).toBeLessThan(2e-3);
    expect(second).toEqual(succeeded(sound.results[1]));
  });

  test("is skipped and counted where the loss itself is not finite, and the reply says what may help", async () => {
    const setup = setupOf("float16", { ...SGD, max_skipped_steps: 1 });
    const one = job(setup);
    const [name = ""] = one.adapter.keys();
    const spoiled = new Map([...one.adapter].map(([key, t]) => [key, key === name ? tensor("float32", t.shape, t.data.with(1, 1e30)) : t]));
    const { results, reports } = await train(setup, [{ ...one, adapter: spoiled }]);
    expect(reports.map(({ skipped, lossScale }) => [skipped, lossScale])).toEqual([[true, 1024], [true, 1024]]);
    expect(failed(results[0]).reason).toContain("runtime.compute=bfloat16 or float32");
  });
});

test("a float16 job carried on with its optimiser state ends with the bytes of one longer job", async () => {
  const setup = setupOf("float16");
  const long = succeeded((await train(setup, [job(setup, { optimizer: scaledBy(2 ** 20) })])).results[0]);
  const first = succeeded((await train(setup, [job(setup, { steps: 1, optimizer: scaledBy(2 ** 20) })])).results[0]);
  const rest = succeeded((await train(setup, [job(setup, { round: 2, steps: 2, stepsDone: 1, adapter: first.adapter, optimizer: first.optimizer })])).results[0]);
  expect(rest.adapter).toEqual(long.adapter);
  expect(rest.optimizer).toEqual(long.optimizer);
});
