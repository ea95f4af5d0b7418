import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { TINY_CONFIG, writeTinyLlama } from "../../../test/support/tiny-llama.ts";
import { randomAdapter, randomDataset, succeeded, temporaryFolder, tinySetup } from "../../../test/support/tiny-training.ts";
import { aliveResources } from "../../core/base/disposal.ts";
import { writeAdapterFolder } from "../adapters/adapter-folder.ts";
import { bindAdapter } from "../adapters/all.ts";
import { llama } from "../architectures/llama.ts";
import { createLocalTrainer } from "./local-trainer.ts";
import type { TrainerSetup } from "./setup.ts";
import { createTrainer } from "./trainer.ts";
import type { StepReport, Trainer, TrainJob } from "./types.ts";

const root = temporaryFolder();
const folder = join(root, "model");
writeTinyLlama(folder);

const LENGTHS = [5, 17, 9, 24, 7, 12];
const data = randomDataset(LENGTHS, TINY_CONFIG.vocab_size);
const setup = tinySetup(folder, data, { adapter: { lora_dropout: 0.2 }, clientsSideBySide: 2, tokensPerMicroBatch: 24 });
const model = llama.open(TINY_CONFIG, "test");
const specs = bindAdapter(setup.adapter, model).parameters;
const examples = Int32Array.from(LENGTHS.keys());
const job = (client: number, steps = 2): TrainJob => ({ client, round: 1, steps, stepsDone: 0, totalSteps: 10, adapter: randomAdapter(specs, client), examples });

/** Everything a trainer answers: start, a group of two clients with its reports, one client, two evaluations. */
async function answers(trainer: Trainer) {
  const reports: StepReport[] = [];
  const initial = await trainer.initialAdapter();
  const group = await trainer.train([job(3), job(1)], { onStep: (report) => reports.push(report) });
  const alone = await trainer.train([job(3)], {});
  const losses = await trainer.evaluate([{ examples }, { examples: Int32Array.of(2), adapter: succeeded(alone[0]).adapter }], {});
  return { initial, group, alone, losses, reports };
}

describe("a trainer in a worker thread", () => {
  test("answers with the bytes of one on this thread, report by report, and leaves nothing alive", async () => {
    const local = await createLocalTrainer(setup, () => false);
    const expected = await answers(local);
    await local[Symbol.asyncDispose]();
    expect(aliveResources()).toBe(0);
    const trainer = await createTrainer(setup);
    expect(await answers(trainer)).toEqual(expected);
    expect(aliveResources("trainer")).toBe(1);
    await trainer[Symbol.asyncDispose]();
    expect(aliveResources()).toBe(0);
    expect(expected.reports).toHaveLength(4);
  });

  test("starts from the adapter that init_from names", async () => {
    const start = randomAdapter(specs, 9);
    writeAdapterFolder(join(root, "start"), { settings: setup.adapter, model, baseModel: "tiny", parameters: start, frozen: new Map() });
    await using trainer = await createTrainer({ ...setup, adapter: { ...setup.adapter, init_from: join(root, "start") } });
    expect(await trainer.initialAdapter()).toEqual(start);
  });

  test("stops soon after an abort with the code `interrupted`, and works afterwards", async () => {
    await using trainer = await createTrainer(setup);
    const [before] = await trainer.train([job(3)], {});
    const stop = new AbortController();
    let steps = 0;
    const onStep = (): void => {
      steps++;
      stop.abort();
    };
    await expect(trainer.train([job(3, 100_000)], { onStep, signal: stop.signal })).rejects.toMatchObject({ name: "FedtuneError", code: "interrupted", exitCode: 130 });
    // The worker trains on while word of its first step travels; it is stopped before the pass that follows the abort.
    expect(steps).toBeLessThan(100);
    expect((await trainer.train([job(3)], {}))[0]).toEqual(before);
  });

  test("does not begin what was aborted before it was asked", async () => {
    await using trainer = await createTrainer(setup);
    let steps = 0;
    await expect(trainer.train([job(3)], { onStep: () => steps++, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "interrupted" });
    await expect(trainer.evaluate([{ examples }], { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "interrupted" });
    expect(steps).toBe(0);
    expect((await trainer.evaluate([{ examples }], {}))[0]?.labelledTokens).toBeGreaterThan(0);
  });

  test("answers calls that overlap one after another, and stops only the one whose signal was aborted", async () => {
    await using trainer = await createTrainer(setup);
    const alone = [await trainer.train([job(3)], {}), await trainer.evaluate([{ examples }], {})];
    const stop = new AbortController();
    const endless = trainer.train([job(1, 100_000)], { onStep: () => stop.abort(), signal: stop.signal });
    const together = Promise.all([trainer.train([job(3)], {}), trainer.evaluate([{ examples }], {})]);
    await expect(endless).rejects.toMatchObject({ code: "interrupted" });
    expect(await together).toEqual(alone);
  });

  test("stops what runs and refuses what waits when it is closed", async () => {
    const trainer = await createTrainer(setup);
    const started = Promise.withResolvers<void>();
    const endless = trainer.train([job(1, 100_000)], { onStep: () => started.resolve() });
    const waiting = trainer.evaluate([{ examples }], {});
    const outcomes = Promise.allSettled([endless, waiting]);
    await started.promise;
    await trainer[Symbol.asyncDispose]();
    expect(await outcomes).toMatchObject([{ status: "rejected", reason: { code: "interrupted" } }, { status: "rejected", reason: { message: "trainer: evaluate: expected an open trainer, got one that was closed." } }]);
  });

  test("refuses work once it is closed, and may be closed twice", async () => {
    const trainer = await createTrainer(setup);
    await trainer[Symbol.asyncDispose]();
    await trainer[Symbol.asyncDispose]();
    await expect(trainer.initialAdapter()).rejects.toThrow("the training worker ended");
    expect(aliveResources()).toBe(0);
  });
});

describe("what does not fit is told from the worker as on this thread, with code and details", () => {
  const broken = join(root, "broken");
  writeTinyLlama(broken);
  writeFileSync(join(broken, "config.json"), JSON.stringify({ ...TINY_CONFIG, hidden_act: "gelu" }));
  const text = join(root, "text");
  writeTinyLlama(text, { edit: (tensors) => tensors.delete("model.norm.weight") });
  test.each([
    ["a config that cannot be honoured", { modelFolder: broken }, "model", 'hidden_act: expected "silu", got "gelu"'],
    ["a missing tensor", { modelFolder: text }, "model", "expected a tensor model.norm.weight"],
    ["targets that match nothing", { adapter: { ...setup.adapter, target_modules: ["q_porj"] } }, "config", "Did you mean `q_proj`?"],
  ] satisfies readonly (readonly [string, Partial<TrainerSetup>, string, string])[])("%s", async (_, changes, code, message) => {
    const caught = async (open: () => Promise<Trainer>): Promise<unknown> => open().then(() => undefined, (error: unknown) => error);
    const here = await caught(() => createLocalTrainer({ ...setup, ...changes }, () => false));
    const there = await caught(() => createTrainer({ ...setup, ...changes }));
    expect(String(there)).toBe(String(here));
    expect(String(there)).toContain(message);
    expect(there).toMatchObject({ name: "FedtuneError", code, details: (here as { details?: unknown }).details });
    expect(aliveResources()).toBe(0);
  });

  test("an init_from for another model, when it is asked for; a resumed run, which does not ask, goes on", async () => {
    const wider = { ...setup.adapter, r: 7 };
    writeAdapterFolder(join(root, "other"), { settings: wider, model, baseModel: "tiny", parameters: randomAdapter(bindAdapter(wider, model).parameters), frozen: new Map() });
    await using trainer = await createTrainer({ ...setup, adapter: { ...setup.adapter, init_from: join(root, "other") } });
    await expect(trainer.initialAdapter()).rejects.toThrow("lora_A.weight: expected shape [3, 24], got [7, 24]");
    expect(succeeded((await trainer.train([job(1)], {}))[0]).steps).toBe(2);
  });
});
