import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { TINY_CONFIG, writeTinyLlama } from "../../../test/support/tiny-llama.ts";
import { failed, randomAdapter, randomDataset, succeeded, temporaryFolder, tinySetup, trainAlone, valuesOf, type TinySetup } from "../../../test/support/tiny-training.ts";
import { tensor, type NamedTensors } from "../../core/base/tensor.ts";
import { bindAdapter } from "../adapters/all.ts";
import { llama } from "../architectures/llama.ts";
import type { HeldPrecision } from "../architectures/quantized-weights.ts";
import { createLocalTrainer } from "./local-trainer.ts";
import type { StepReport, TrainJob } from "./types.ts";

const folder = join(temporaryFolder(), "model");
writeTinyLlama(folder);

const LENGTHS = [5, 17, 9, 24, 7, 12, 3, 20, 11, 6];
const data = randomDataset(LENGTHS, TINY_CONFIG.vocab_size);
const setupOf = (changes: Parameters<typeof tinySetup>[2] = {}): TinySetup => tinySetup(folder, data, changes);

function startOf({ adapter }: TinySetup, seed = 11): NamedTensors<"float32"> {
  return randomAdapter(bindAdapter(adapter, llama.open(TINY_CONFIG, "test")).parameters, seed);
}

function job(setup: TinySetup, changes: Partial<TrainJob> = {}): TrainJob {
  return { client: 0, round: 1, steps: 2, stepsDone: 0, totalSteps: 10, adapter: startOf(setup), examples: Int32Array.from(LENGTHS.keys()), ...changes };
}

/** The same adapter with one value that is not a number. */
function spoiled(adapter: NamedTensors<"float32">): NamedTensors<"float32"> {
  const [first] = adapter.keys();
  return new Map([...adapter].map(([name, t]) => [name, name === first ? tensor("float32", t.shape, t.data.with(1, Number.NaN)) : t]));
}

/** Three clients of unequal sizes: the second has one pack where the first needs several passes. */
function group(setup: TinySetup): TrainJob[] {
  return [
    job(setup, { client: 4, examples: Int32Array.of(3, 1, 7) }),
    job(setup, { client: 7, examples: Int32Array.of(6, 0, 4), adapter: startOf(setup, 12) }),
    job(setup, { client: 2, examples: Int32Array.of(8, 2, 5, 9, 0), adapter: startOf(setup, 13) }),
  ];
}

describe("clients side by side", () => {
  test.each([
    ["whole steps", { tokensPerMicroBatch: 1000 }],
    ["micro-batches, in which some clients have nothing left", { tokensPerMicroBatch: 24 }],
    ["dropout", { tokensPerMicroBatch: 24, adapter: { lora_dropout: 0.3 } }],
    ["an adapted output embedding", { tokensPerMicroBatch: 48, adapter: { target_modules: ["q_proj", "lm_head"] } }],
  ])("give what they give one after another: %s", async (_, changes) => {
    const setup = setupOf({ ...changes, clientsSideBySide: 3, training: { optimizer: { name: "sgd", momentum: 0.5 }, learning_rate: 0.3, max_grad_norm: 0.7 } });
    const jobs = group(setup);
    const together = await trainAlone(setup, jobs);
    for (const [i, one] of jobs.entries()) {
      const [alone] = await trainAlone(setup, [one]);
      const [a, b] = [succeeded(together[i]), succeeded(alone)];
      expect(relativeError(valuesOf(a.adapter), valuesOf(b.adapter))).toBeLessThan(1e-5);
      expect(relativeError(valuesOf(a.optimizer), valuesOf(b.optimizer))).toBeLessThan(1e-4);
      expect(a.loss).toBeCloseTo(b.loss, 5);
      expect([a.examples, a.tokens, a.steps, a.skippedSteps]).toEqual([b.examples, b.tokens, b.steps, b.skippedSteps]);
    }
  });

  test("each take the number of steps that their own job asks for", async () => {
    const setup = setupOf({ clientsSideBySide: 2 });
    const jobs = [job(setup, { client: 1, steps: 3 }), job(setup, { client: 5, steps: 1, adapter: startOf(setup, 12) })];
    const together = await trainAlone(setup, jobs);
    for (const [i, one] of jobs.entries()) {
      const [a, b] = [succeeded(together[i]), succeeded((await trainAlone(setup, [one]))[0])];
      expect([a.steps, a.skippedSteps, a.examples, a.tokens]).toEqual([b.steps, b.skippedSteps, b.examples, b.tokens]);
      expect(relativeError(valuesOf(a.adapter), valuesOf(b.adapter))).toBeLessThan(1e-4);
    }
  });
});

describe("passes of a step at the same time", () => {
  test.each([
    ["one client, dropout, an odd number of passes", { dataParallel: 2, tokensPerMicroBatch: 24, adapter: { lora_dropout: 0.3 } }],
    ["more sessions than some steps have passes", { dataParallel: 3, tokensPerMicroBatch: 48 }],
    ["several clients", { dataParallel: 2, tokensPerMicroBatch: 24, clientsSideBySide: 3 }],
    ["a base in 8 bits", { dataParallel: 2, tokensPerMicroBatch: 24, basePrecision: "uint8" }],
    ["a base in 4 bits", { dataParallel: 2, tokensPerMicroBatch: 24, basePrecision: "int4" }],
  ] as const)("give the bytes of one after another: %s", async (_, { dataParallel, ...changes }) => {
    const basePrecision: HeldPrecision = "basePrecision" in changes ? changes.basePrecision : "float32";
    const setup = setupOf(changes);
    const jobs = "clientsSideBySide" in changes ? group(setup) : [job(setup, { steps: 3 })];
    const runs = [];
    // Within a budget that makes a part of each pass run twice.
    const runtime = { ...setup.runtime, basePrecision, activationBytes: 40_000 };
    for (const own of [runtime, { ...runtime, dataParallel, threads: dataParallel }]) {
      await using trainer = await createLocalTrainer({ ...setup, runtime: own }, () => false);
      const steps: StepReport[] = [];
      runs.push({ results: await trainer.train(jobs, { onStep: (report) => steps.push(report) }), steps });
    }
    expect(runs[1]).toEqual(runs[0]);
    expect(runs[0]?.results.map((result) => result.ok)).toEqual(jobs.map(() => true));
  });

  test("stop before the next pass when they are told to, and can be closed then", async () => {
    let passes = 0;
    const setup = setupOf({ tokensPerMicroBatch: 24 });
    await using trainer = await createLocalTrainer({ ...setup, runtime: { ...setup.runtime, dataParallel: 2, threads: 2 } }, () => ++passes > 2);
    await expect(trainer.train([job(setup)], {})).rejects.toThrow("got a request to stop");
  });
});

describe("a client whose numbers are not finite", () => {
  test("is skipped, counted and fails, while its neighbours get the bytes of a group without the fault", async () => {
    const setup = setupOf({ clientsSideBySide: 3, training: { max_skipped_steps: 2 } });
    const jobs = group(setup).map((one) => ({ ...one, steps: 3 }));
    const sound = await trainAlone(setup, jobs);
    const reports: StepReport[] = [];
    await using trainer = await createLocalTrainer(setup, () => false);
    const faulty = await trainer.train(jobs.map((one, i) => (i === 1 ? { ...one, adapter: spoiled(one.adapter) } : one)), { onStep: (report) => reports.push(report) });
    expect(failed(faulty[1]).code).toBe("federation");
    expect(failed(faulty[1]).reason).toContain("3 steps had a loss or gradient that is not finite");
    expect(faulty[0]).toEqual(sound[0]);
    expect(faulty[2]).toEqual(sound[2]);
    const own = reports.filter((report) => report.client === 7);
    expect(own.map(({ skipped, loss }) => [skipped, loss])).toEqual([[true, Number.NaN], [true, Number.NaN], [true, Number.NaN]]);
    expect(reports.filter((report) => report.client !== 7).every((report) => !report.skipped && report.loss > 0)).toBe(true);
  });

  test("ends with the adapter it came with where max_skipped_steps allows for it", async () => {
    const setup = setupOf({ training: { max_skipped_steps: 2 } });
    const one = job(setup, { adapter: spoiled(startOf(setup)) });
    const result = succeeded((await trainAlone(setup, [one]))[0]);
    expect(result).toMatchObject({ steps: 0, skippedSteps: 2, loss: Number.NaN });
    expect(result.adapter).toEqual(one.adapter);
    expect([...valuesOf(result.optimizer)].every((x) => x === 0)).toBe(true);
  });

  test("stops early where every client of the group has failed", async () => {
    const setup = setupOf({ training: { max_skipped_steps: 0 } });
    const reports: StepReport[] = [];
    await using trainer = await createLocalTrainer(setup, () => false);
    const [result] = await trainer.train([job(setup, { steps: 5, adapter: spoiled(startOf(setup)) })], { onStep: (report) => reports.push(report) });
    expect([result?.ok, reports.length]).toEqual([false, 1]);
  });
});

test("a client without examples fails alone", async () => {
  const setup = setupOf({ clientsSideBySide: 2 });
  const results = await trainAlone(setup, [job(setup, { client: 1 }), job(setup, { client: 2, examples: new Int32Array() })]);
  expect(results[1]).toEqual({ ok: false, code: "data", reason: "client 2 has no training examples" });
  const alone = succeeded((await trainAlone(setup, [job(setup, { client: 1 })]))[0]);
  expect(relativeError(valuesOf(succeeded(results[0]).adapter), valuesOf(alone.adapter))).toBeLessThan(1e-4);
});

test("accumulated micro-batches give what one pass gives, since both divide by the labelled tokens of the whole step", async () => {
  const training = { batch_size: 7, optimizer: { name: "sgd", momentum: 0.5 }, learning_rate: 0.5 };
  const [whole, cut] = [setupOf({ training }), setupOf({ training, tokensPerMicroBatch: 24 })];
  const [a, b] = [succeeded((await trainAlone(whole, [job(whole)]))[0]), succeeded((await trainAlone(cut, [job(cut)]))[0])];
  expect(relativeError(valuesOf(b.adapter), valuesOf(a.adapter))).toBeLessThan(1e-5);
  expect(relativeError(valuesOf(a.adapter), valuesOf(job(whole).adapter))).toBeGreaterThan(1e-2);
  expect([b.examples, b.tokens]).toEqual([a.examples, a.tokens]);
  expect(b.loss).toBeCloseTo(a.loss, 5);
});

test.each([
  ["AdamW", { name: "adamw", weight_decay: 0.1 }],
  ["SGD with momentum", { name: "sgd", momentum: 0.7 }],
])("a job carried on with its optimiser state ends with the bytes of one longer job: %s", async (_, optimizer) => {
  const setup = setupOf({ adapter: { lora_dropout: 0.2 }, tokensPerMicroBatch: 24, training: { optimizer, schedule: { name: "cosine", warmup_steps: 2 } } });
  const long = succeeded((await trainAlone(setup, [job(setup, { steps: 5, totalSteps: 7 })]))[0]);
  const first = succeeded((await trainAlone(setup, [job(setup, { steps: 2, totalSteps: 7 })]))[0]);
  const rest = succeeded((await trainAlone(setup, [job(setup, { round: 2, steps: 3, stepsDone: 2, totalSteps: 7, adapter: first.adapter, optimizer: first.optimizer })]))[0]);
  expect(rest.adapter).toEqual(long.adapter);
  expect(rest.optimizer).toEqual(long.optimizer);
});

test("the bias correction starts again where moments are not carried on", async () => {
  const setup = setupOf({ training: { max_grad_norm: 0, optimizer: { name: "adamw" } } });
  const one = job(setup, { steps: 1, stepsDone: 5 });
  const result = succeeded((await trainAlone(setup, [one]))[0]);
  const changes = valuesOf(result.adapter).map((x, i) => Math.abs(x - (valuesOf(one.adapter)[i] ?? 0)));
  // AdamW's first step from zero moments moves every value with a gradient by the learning rate.
  expect(changes.toSorted()[Math.floor(changes.length / 2)]).toBeCloseTo(0.01, 4);
});

test("each step reports its place, its rate and what it consumed", async () => {
  const setup = setupOf({ training: { schedule: { name: "linear" } } });
  const reports: StepReport[] = [];
  await using trainer = await createLocalTrainer(setup, () => false);
  const [result] = await trainer.train([job(setup, { client: 3, round: 2, stepsDone: 4 })], { onStep: (report) => reports.push(report) });
  expect(reports).toMatchObject([
    { client: 3, round: 2, step: 1, examples: 3, skipped: false },
    { client: 3, round: 2, step: 2, examples: 3, skipped: false },
  ]);
  expect(relativeError(reports.map((report) => report.learningRate), [0.006, 0.005])).toBeLessThan(1e-12);
  expect(reports.every((report) => report.gradientNorm > 0)).toBe(true);
  expect(succeeded(result)).toMatchObject({ steps: 2, examples: 6, tokens: reports.reduce((n, report) => n + report.tokens, 0) });
  expect(succeeded(result).loss).toBeCloseTo(reports.reduce((sum, report) => sum + report.loss / 2, 0), 9);
});
