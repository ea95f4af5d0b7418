/** Methods of virtual tokens the whole way: in packs, generation, training, between clients and on disk. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fullLogits } from "../../../test/support/full-logits.ts";
import { relativeError } from "../../../test/support/numbers.ts";
import { TINY_CONFIG, writeTinyLlama } from "../../../test/support/tiny-llama.ts";
import { openAdapted, randomAdapter, randomDataset, succeeded, temporaryFolder, tinySetup, trainAlone, valuesOf } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { tensor, type NamedTensors } from "../../core/base/tensor.ts";
import { writeAdapterFolder } from "../adapters/adapter-folder.ts";
import { adapterSchema } from "../adapters/settings.ts";
import { openArchitecture } from "../architectures/all.ts";
import { packExamples } from "../data/pack.ts";
import { stackClients } from "../data/stack.ts";
import { loadTokenizer } from "../text/tokenizer.ts";
import { batchFeeds } from "./batch-feeds.ts";
import { flatSize, flatten } from "./flat.ts";
import { trainedSpecs } from "./graphs.ts";
import { createLocalTrainer } from "./local-trainer.ts";
import { sampleToken } from "./sampling.ts";
import type { TrainerSetup } from "./setup.ts";
import { generate } from "./text-model.ts";
import type { GenerateOptions, TrainJob } from "./types.ts";

const root = temporaryFolder();
const folder = join(root, "model");
writeTinyLlama(folder);
const model = await openArchitecture(folder);

const LENGTHS = [5, 9, 7, 13, 3, 11, 8];
const data = randomDataset(LENGTHS, TINY_CONFIG.vocab_size);
const ALL = Int32Array.from(LENGTHS.keys());
const SGD = { optimizer: { name: "sgd" }, learning_rate: 0.5, max_grad_norm: 0 };

type Fields = Readonly<Record<string, unknown>>;
const METHODS: readonly (readonly [string, Fields])[] = [
  ["prompt", { method: "prompt", num_virtual_tokens: 3 }],
  ["prefix", { method: "prefix", num_virtual_tokens: 3 }],
  ["projected prefix", { method: "prefix", num_virtual_tokens: 3, prefix_projection: true, encoder_hidden_size: 5 }],
  ["p-tuning by an MLP", { method: "p_tuning", num_virtual_tokens: 3, encoder_hidden_size: 5 }],
  ["p-tuning by an LSTM", { method: "p_tuning", num_virtual_tokens: 3, encoder_reparameterization_type: "LSTM", encoder_hidden_size: 5 }],
];
const WITH_ENCODER = METHODS.slice(2);

function setupOf(adapter: Fields, changes: Parameters<typeof tinySetup>[2] = {}, modelFolder = folder): TrainerSetup {
  return { ...tinySetup(modelFolder, data, changes), adapter: adapterSchema.parse(adapter) };
}

function jobOf(adapter: NamedTensors<"float32">, changes: Partial<TrainJob> = {}): TrainJob {
  return { client: 0, round: 1, steps: 2, stepsDone: 0, totalSteps: 10, adapter, examples: ALL, ...changes };
}

async function initialOf(setup: TrainerSetup): Promise<NamedTensors<"float32">> {
  await using trainer = await createLocalTrainer(setup, () => false);
  return await trainer.initialAdapter();
}

test.each(METHODS)("a pack gives the losses and gradients of its examples apart, each with virtual tokens of its own: %s", async (_, settings) => {
  const { adapter, sessions } = await openAdapted(setupOf(settings));
  using _sessions = sessions;
  const specs = trainedSpecs(adapter);
  const parameters = tensor("float32", [1, flatSize(specs)], new Float32Array(flatSize(specs)));
  flatten(randomAdapter(specs), specs, parameters.data);
  const { session } = await sessions.train(1);
  const virtual = { count: adapter.virtualTokens, firstId: model.vocabSize };
  const run = async (indices: readonly number[], width: number) => {
    const pack = packExamples(data, indices, { width, virtual });
    const out = await session.run({ ...batchFeeds(stackClients([pack]), adapter), parameters, accumulated: tensor("float32", parameters.shape, new Float32Array(parameters.data.length)) });
    // Both outputs are float32 by the graph's types.
    return { rows: pack.rows, gradient: must(out["accumulated_out"], "gradient").data as Float32Array, nll: must(out["nll"], "nll").data as Float32Array };
  };
  const indices = [3, 1, 0, 2, 4];
  const apart = await Promise.all(indices.map((i) => run([i], 16)));
  const summed = new Float64Array(parameters.data.length).map((_zero, i) => apart.reduce((sum, { gradient }) => sum + (gradient[i] ?? 0), 0));
  const losses = apart.flatMap(({ nll }) => [...nll]).sort((a, b) => a - b);
  for (const [width, rows] of [[52, 1], [28, 2]] as const) {
    const packed = await run(indices, width);
    expect(packed.rows).toBe(rows);
    expect(relativeError(packed.nll.toSorted(), losses)).toBeLessThan(1e-6);
    expect(relativeError(packed.gradient, summed)).toBeLessThan(1e-5);
  }
  expect(summed.some((x) => Math.abs(x) > 1e-2)).toBe(true);
});

test.each(METHODS)("the loss of a pack is that of the logits that generation sees: %s", async (_, settings) => {
  const setup = setupOf(settings);
  const opened = await openAdapted(setup);
  using sessions = opened.sessions;
  const tensors = randomAdapter(trainedSpecs(opened.adapter));
  const adapted = { adapter: opened.adapter, feeds: await opened.opened.feeds(tensors), prefix: () => sessions.prefix() };
  const session = await sessions.generate(true);
  let [expected, labelled] = [0, 0];
  for (const example of ALL) {
    const [start, end] = [data.offsets[example] ?? 0, data.offsets[example + 1] ?? 0];
    const logits = await fullLogits({ session, model, adapted }, [...data.ids.subarray(start, end)]);
    for (let at = start + 1; at < end; at++) {
      const label = data.labels[at] ?? 0;
      if (label < 0) continue;
      const row = Float64Array.from(logits.subarray((at - 1 - start) * model.vocabSize, (at - start) * model.vocabSize));
      expected += Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - (row[label] ?? 0);
      labelled++;
    }
  }
  await using trainer = await createLocalTrainer(setup, () => false);
  const [evaluated] = await trainer.evaluate([{ adapter: tensors, examples: ALL }], {});
  expect([evaluated?.labelledTokens, relativeError([evaluated?.nll ?? 0], [expected]) < 1e-6]).toEqual([labelled, true]);
});

describe("generation with a cache gives what full forward passes give", () => {
  const GREEDY: GenerateOptions = { maxNewTokens: 9, temperature: 0, topK: 0, topP: 1, stop: [], seed: 5, stopAtEnd: false };
  const MODEL = "assets/stories260k";
  const tokenizer = loadTokenizer(MODEL);
  const prompts = ["Once upon a time", "The big red dog ran to the park and saw", "A"].map((text) => tokenizer.encode(text, { addSpecialTokens: true }));

  test.each(METHODS)("%s, several prompts together", async (_, settings) => {
    const setup = setupOf(settings, {}, MODEL);
    const opened = await openAdapted(setup);
    using sessions = opened.sessions;
    await using trainer = await createLocalTrainer(setup, () => false);
    // Strong enough to change what is written.
    const tensors = new Map([...randomAdapter(trainedSpecs(opened.adapter))].map(([name, t]) => [name, tensor("float32", t.shape, t.data.map((x) => 4 * x))]));
    const adapted = { adapter: opened.adapter, feeds: await opened.opened.feeds(tensors), prefix: () => sessions.prefix() };
    const session = await sessions.generate(true);
    const texts = await trainer.generate({ prompts, options: GREEDY, adapter: tensors }, {});
    for (const [row, prompt] of prompts.entries()) {
      const expected: number[] = [];
      for (let step = 0; step < GREEDY.maxNewTokens; step++) {
        const logits = await fullLogits({ session, model: opened.model, adapted }, [...prompt, ...expected]);
        expected.push(sampleToken(logits.subarray(-opened.model.vocabSize), GREEDY, 0, step));
      }
      expect([...must(texts[row], "text")]).toEqual(expected);
    }
    const bare = await trainer.generate({ prompts, options: GREEDY }, {});
    expect(texts).not.toEqual(bare);
  });
});

describe("ten steps", () => {
  test.each([...METHODS, ...WITH_ENCODER.map(([name, settings]) => [`${name} that stays`, { ...settings, encoder: "local" }] as const)])("make the loss fall: %s", async (_, settings) => {
    const setup = setupOf(settings, { training: { batch_size: 7, learning_rate: 0.03 } });
    const losses: number[] = [];
    await using trainer = await createLocalTrainer(setup, () => false);
    const [result] = await trainer.train([jobOf(await trainer.initialAdapter(), { steps: 10 })], { onStep: ({ loss }) => losses.push(loss) });
    expect(losses).toHaveLength(10);
    expect((losses[0] ?? 0) - (losses[9] ?? 0)).toBeGreaterThan(0.05);
    const evaluated = await trainer.evaluate([{ adapter: succeeded(result).adapter, examples: ALL }], {});
    expect((evaluated[0]?.nll ?? 0) / (evaluated[0]?.labelledTokens ?? 1)).toBeLessThan(must(losses[9], "loss") + 0.01);
  });
});

describe("training goes on from an adapter's folder", () => {
  const write = async (setup: TrainerSetup, name: string, steps: number) => {
    await using trainer = await createLocalTrainer(setup, () => false);
    const result = succeeded((await trainer.train([jobOf(await trainer.initialAdapter(), { steps })], {}))[0]);
    const out = join(root, name);
    writeAdapterFolder(out, { ...(await trainer.savedAdapter(result.adapter)), settings: must(setup.adapter, "settings"), model, baseModel: "tiny" });
    return { out, adapter: result.adapter };
  };

  test.each(METHODS)("with the same tensors and the same loss: %s", async (name, settings) => {
    const changes = { training: { batch_size: 7, optimizer: { name: "sgd" as const }, learning_rate: 0.05 } };
    const { out, adapter } = await write(setupOf(settings, changes), name, 3);
    const setup = setupOf({ ...settings, init_from: out }, changes);
    expect(await initialOf(setup)).toEqual(adapter);
    const next = succeeded((await trainAlone(setup, [jobOf(await initialOf(setup), { stepsDone: 3, steps: 1 })]))[0]);
    const straight = succeeded((await trainAlone(setupOf(settings, changes), [jobOf(adapter, { stepsDone: 3, steps: 1 })]))[0]);
    expect(next).toEqual(straight);
  });

  test.each(WITH_ENCODER)("that has no encoder only where the encoder stays with each client: %s", async (name, settings) => {
    const { out } = await write(setupOf({ ...settings, encoder: "local" }), `${name} local`, 2);
    await expect(initialOf(setupOf({ ...settings, init_from: out }))).rejects.toThrow(/expected encoder.safetensors beside the adapter.*adapter.encoder=local/);
    const setup = setupOf({ ...settings, encoder: "local", init_from: out }, { training: { batch_size: 7 } });
    const start = await initialOf(setup);
    const losses: number[] = [];
    await using trainer = await createLocalTrainer(setup, () => false);
    const [evaluated] = await trainer.evaluate([{ adapter: start, examples: ALL }], {});
    await trainer.train([jobOf(start, { steps: 8 })], { onStep: ({ loss }) => losses.push(loss) });
    // The first step sees what the folder holds, not what the fresh encoder gives.
    expect(losses[0]).toBeCloseTo((evaluated?.nll ?? 0) / (evaluated?.labelledTokens ?? 1), 4);
    expect(losses.at(-1)).toBeLessThan(must(losses[0], "loss"));
    const untouched = succeeded((await trainAlone(setup, [jobOf(start, { steps: 0 })]))[0]);
    expect(relativeError(valuesOf(untouched.adapter), valuesOf(start))).toBeLessThan(1e-6);
  });

  test("and texts are written without the encoder", async () => {
    const assets = await openArchitecture("assets/stories260k");
    const settings = adapterSchema.parse({ method: "p_tuning", num_virtual_tokens: 3, encoder_hidden_size: 5 });
    const adapter = join(root, "without encoder");
    writeAdapterFolder(adapter, { settings, model: assets, baseModel: "stories260k", frozen: new Map(), parameters: randomAdapter([{ name: "prompt_embeddings", shape: [3, 64], start: () => new Float32Array() }]) });
    const options = { model: "assets/stories260k", prompt: "Once upon a time", maxNewTokens: 8, temperature: 0, topK: 0, topP: 1, stop: [], seed: 3 };
    expect((await generate({ ...options, adapter })).newTokens).toBe(8);
  });
});

describe("an encoder that stays with each client", () => {
  test.each(WITH_ENCODER)("leaves only what inference needs to be exchanged: %s", async (_, settings) => {
    const setup = setupOf({ ...settings, encoder: "local" });
    const start = await initialOf(setup);
    const { adapter } = succeeded((await trainAlone(setup, [jobOf(start)]))[0]);
    expect([[...start.keys()], [...adapter.keys()]]).toEqual([["prompt_embeddings"], ["prompt_embeddings"]]);
    expect(relativeError(valuesOf(adapter), valuesOf(start))).toBeGreaterThan(1e-3);
  });

  test.each(WITH_ENCODER)("changes a given prompt by what its encoder learnt, as one that travels: %s", async (_, settings) => {
    const shared = setupOf(settings, { training: SGD });
    const { opened, sessions } = await openAdapted(shared);
    using _sessions = sessions;
    const trained = succeeded((await trainAlone(shared, [jobOf(await initialOf(shared))]))[0]);
    const local = setupOf({ ...settings, encoder: "local" }, { training: SGD });
    const stayed = succeeded((await trainAlone(local, [jobOf(await initialOf(local))]))[0]);
    expect(stayed.loss).toBeCloseTo(trained.loss, 6);
    expect(relativeError(valuesOf(stayed.adapter), valuesOf(await opened.parameters(trained.adapter)))).toBeLessThan(1e-5);
  });

  test.each([...METHODS, ...WITH_ENCODER.map(([name, settings]) => [`${name} that stays`, { ...settings, encoder: "local" }] as const)])("two clients side by side equal each alone: %s", async (_, settings) => {
    const setup = setupOf(settings, { clientsSideBySide: 2, training: { ...SGD, batch_size: 2 } });
    const start = await initialOf(setup);
    const moved = new Map([...start].map(([name, t]) => [name, tensor("float32", t.shape, t.data.map((x, i) => x + 0.1 * Math.sin(i)))]));
    const jobs = [jobOf(start, { client: 3, examples: Int32Array.of(0, 2, 4) }), jobOf(moved, { client: 5, examples: Int32Array.of(1, 3, 5, 6) })];
    const together = await trainAlone(setup, jobs);
    for (const [i, one] of jobs.entries()) {
      const [a, b] = [succeeded(together[i]), succeeded((await trainAlone(setup, [one]))[0])];
      expect(a.loss).toBeCloseTo(b.loss, 5);
      expect(relativeError(valuesOf(a.adapter), valuesOf(b.adapter))).toBeLessThan(1e-5);
    }
  });
});
