/** Every architecture under every adapter method that fits it: training in packs and padded rows, generation with and without a cache, merging. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FedtuneError, must } from "../src/core/base/errors.ts";
import { normals, randomKey } from "../src/core/base/random.ts";
import { tensor, type NamedTensors, type Tensor } from "../src/core/base/tensor.ts";
import { bindAdapter, type ADAPTER_METHODS } from "../src/llm/adapters/all.ts";
import { exportMerged } from "../src/llm/adapters/merge.ts";
import { adapterSchema } from "../src/llm/adapters/settings.ts";
import { packExamples } from "../src/llm/data/pack.ts";
import { stackClients } from "../src/llm/data/stack.ts";
import { IGNORED_LABEL } from "../src/llm/data/types.ts";
import { loadTokenizer } from "../src/llm/text/tokenizer.ts";
import { EarlierTexts } from "../src/llm/training/earlier-text.ts";
import { batchFeeds } from "../src/llm/training/batch-feeds.ts";
import { flatSize, flatten } from "../src/llm/training/flat.ts";
import { adaptedBy, generateByAdapter } from "../src/llm/training/generate-by-adapter.ts";
import { trainedSpecs } from "../src/llm/training/graphs.ts";
import { openModel, type OpenedModel } from "../src/llm/training/local-trainer.ts";
import type { TrainerSetup } from "../src/llm/training/setup.ts";
import { scoreTexts } from "../src/llm/training/score.ts";
import { trainGroup } from "../src/llm/training/train-loop.ts";
import type { GenerateOptions, ScoredText } from "../src/llm/training/types.ts";
import { fullLogits } from "./support/full-logits.ts";
import { relativeError } from "./support/numbers.ts";
import { openTiny, TINY_CONFIGS, writeTinyModel } from "./support/tiny-models.ts";
import { openAdapted, randomDataset, succeeded, temporaryFolder, tinySetup } from "./support/tiny-training.ts";

type Architecture = keyof typeof TINY_CONFIGS;
type Method = keyof typeof ADAPTER_METHODS;

/** Small settings of every method; modules are what each architecture takes by default. */
const SETTINGS: Readonly<Record<Method, Readonly<Record<string, unknown>>>> = {
  lora: { r: 3, lora_alpha: 5 },
  dora: { r: 3, lora_alpha: 5 },
  ia3: {},
  prompt: { num_virtual_tokens: 3 },
  prefix: { num_virtual_tokens: 3 },
  p_tuning: { num_virtual_tokens: 3, encoder_hidden_size: 5 },
  vera: { r: 5 },
  adalora: { init_r: 4, target_r: 2, tinit: 2, tfinal: 3, lora_alpha: 5 },
  bitfit: {},
  bottleneck: { size: 5, placement: "houlsby" },
  full: {},
};

/** Pairs that do not fit: these models have no biases. */
const REFUSED: Readonly<Partial<Record<Method, readonly Architecture[]>>> = {
  bitfit: ["gemma", "gemma2", "gemma3_text", "llama", "mistral", "phi3", "qwen3", "smollm3"],
};

// Object.keys and entries forget key types; these are the records' own.
const METHODS = Object.keys(SETTINGS) as Method[];
const ARCHITECTURES = Object.keys(TINY_CONFIGS) as Architecture[];

const root = temporaryFolder();
const tokenizer = loadTokenizer("assets/stories260k");
/** Longer than every window; any two fill more than the longest row of one. */
const LENGTHS = [9, 6, 8, 7];
const EXAMPLES = Int32Array.from(LENGTHS.keys());
const data = randomDataset(LENGTHS, 29);
const PROMPTS = [Int32Array.of(3, 17, 8, 21, 5, 11), Int32Array.of(24, 2), Int32Array.of(7, 7, 19, 1)];
const GREEDY: GenerateOptions = { maxNewTokens: 6, temperature: 0, topK: 0, topP: 1, stop: [], seed: 5, stopAtEnd: false };

/** All examples in one row, or each in a row of its own. */
const WIDTHS = { packed: 30, padded: 9 };

function setupOf(architecture: Architecture, method?: Method): TrainerSetup {
  const { adapter: _none, ...setup } = tinySetup(join(root, architecture), data, { training: { batch_size: LENGTHS.length, learning_rate: 0.03 } });
  return { ...setup, packTokens: WIDTHS.packed, ...(method === undefined ? {} : { adapter: adapterSchema.parse({ method, ...SETTINGS[method] }) }) };
}

/** Tensors moved away from what training starts from, where much is 0. */
function moved(start: NamedTensors<"float32">): NamedTensors<"float32"> {
  return new Map([...start].map(([name, t]) => {
    const draws = normals(randomKey(13, name), [], t.data.length);
    return [name, tensor("float32", t.shape, t.data.map((x, i) => x + 0.4 * (draws[i] ?? 0)))];
  }));
}

const bits = (t: Tensor | undefined): Float32Array => must(t, "output").data as Float32Array;

/** Greedy texts of all prompts with a cache, and the logits of full passes over prompt and text at the places that gave the text. */
async function write({ model, sessions, opened }: OpenedModel, adapter: NamedTensors<"float32"> | undefined) {
  const generation = { model, tokenizer, sessions, opened, earlierTexts: new EarlierTexts(), aborted: () => false, onToken: () => undefined };
  const job = { options: GREEDY, ...(adapter === undefined ? {} : { adapter }) };
  const texts = await generateByAdapter(generation, { ...job, prompts: PROMPTS });
  const adapted = adapter === undefined || opened === undefined ? undefined : { adapter: opened.adapter, feeds: await opened.feeds(adapter), prefix: () => sessions.prefix() };
  const session = await sessions.generate(adapter !== undefined);
  const logits: Float32Array[] = [];
  for (const [i, prompt] of PROMPTS.entries()) {
    const text = must(texts[i], "text");
    const all = await fullLogits({ session, model, adapted }, [...prompt, ...text.subarray(0, -1)]);
    logits.push(all.subarray((prompt.length - 1) * model.vocabSize));
  }
  const shared = PROMPTS.map(async (prompt) => must((await generateByAdapter(generation, { ...job, shared: prompt.subarray(0, 1), prompts: [prompt.subarray(1)] }))[0], "text"));
  return { texts, textsAfterShared: await Promise.all(shared), logits: Float32Array.from(logits.flatMap((row) => [...row])), vocabSize: model.vocabSize };
}

/** Losses of the labelled tokens by the graph of generation, the longest example first, as packs have them. */
async function lossesInGeneration({ model, sessions, opened }: Awaited<ReturnType<typeof openAdapted>>, tensors: NamedTensors<"float32">): Promise<number[]> {
  const adapted = { adapter: opened.adapter, feeds: await opened.feeds(tensors), prefix: () => sessions.prefix() };
  const session = await sessions.generate(true);
  const losses: number[] = [];
  for (const i of [...EXAMPLES].sort((a, b) => (LENGTHS[b] ?? 0) - (LENGTHS[a] ?? 0))) {
    const [start, end] = [data.offsets[i] ?? 0, data.offsets[i + 1] ?? 0];
    const logits = await fullLogits({ session, model, adapted }, [...data.ids.subarray(start, end)]);
    data.labels.subarray(start, end).forEach((label, p) => {
      if (p === 0 || label === IGNORED_LABEL) return;
      const row = logits.subarray((p - 1) * model.vocabSize, p * model.vocabSize);
      losses.push(Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - (row[label] ?? 0));
    });
  }
  return losses;
}

/** A text before all others, and texts with continuations; tokens from the labelled place on are labelled. */
const EARLIER = Int32Array.of(3, 17, 8, 21, 5);
const labelled = (ids: readonly number[], from: number) => ({ ids: Int32Array.from(ids), labels: Int32Array.from(ids, (id, p) => (p < from ? IGNORED_LABEL : id)) });
const SCORED: readonly ScoredText[] = [
  { ...labelled([11, 4, 9], 9), branches: [labelled([24, 2], 0), labelled([6], 0), labelled([13, 13, 1], 1)] },
  { ...labelled([7, 19, 2, 28], 0), branches: [] },
  { ...labelled([15], 0), branches: [labelled([22, 10], 0)] },
];

/** Losses of SCORED by passes of at most so many tokens, and by full passes over each text alone. */
async function scoreBothWays({ model, sessions, opened }: OpenedModel, adapter: NamedTensors<"float32"> | undefined) {
  const adapted = adapter === undefined ? undefined : await adaptedBy({ opened, sessions }, [{ adapter }]);
  const session = await sessions.generate(adapter !== undefined);
  const earlier = await new EarlierTexts().get(session, { model, adapted, aborted: () => false }, EARLIER);
  const context = { session: await sessions.score(adapter !== undefined), earlier, layers: model.layers, feeds: adapted?.feeds ?? {}, aborted: () => false, onScored: () => undefined };
  const flat = async (tokensPerPass: number): Promise<number[]> => (await scoreTexts({ ...context, tokensPerPass }, SCORED)).flatMap(({ losses, branches }) => [...losses, ...branches.flatMap((b) => [...b])]);
  const apart: number[] = [];
  const losses = async (before: readonly number[], { ids, labels }: { readonly ids: Int32Array; readonly labels: Int32Array }, first: boolean): Promise<void> => {
    const logits = await fullLogits({ session, model, adapted }, [...EARLIER, ...before, ...ids]);
    labels.forEach((label, p) => {
      if (label === IGNORED_LABEL || (first && p === 0)) return;
      const at = EARLIER.length + before.length + p - 1;
      const row = logits.subarray(at * model.vocabSize, (at + 1) * model.vocabSize);
      apart.push(Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - (row[label] ?? 0));
    });
  };
  for (const text of SCORED) {
    await losses([], text, true);
    for (const branch of text.branches) await losses([...text.ids], branch, false);
  }
  return { together: await flat(100), single: await flat(1), apart };
}

/** The likeliest token at each place. */
function likeliest({ logits, vocabSize }: Awaited<ReturnType<typeof write>>): number[] {
  return Array.from({ length: logits.length / vocabSize }, (_, i) => {
    const row = logits.subarray(i * vocabSize, (i + 1) * vocabSize);
    return row.indexOf(row.reduce((max, x) => Math.max(max, x)));
  });
}

const joined = (texts: readonly Int32Array[]): number[] => texts.flatMap((text) => [...text]);

describe.each(ARCHITECTURES)("%s", (architecture) => {
  let off: Awaited<ReturnType<typeof write>>;
  beforeAll(async () => {
    writeTinyModel(join(root, architecture), TINY_CONFIGS[architecture]);
    const base = await openModel(setupOf(architecture));
    await using _sessions = base.sessions;
    off = await write(base, undefined);
  });

  test("writes with a cache what full passes give", () => {
    expect(likeliest(off)).toEqual(joined(off.texts));
    expect(new Set(joined(off.texts)).size).toBeGreaterThan(2);
    expect(off.textsAfterShared).toEqual(off.texts);
  });

  describe.each(METHODS.filter((method) => REFUSED[method]?.includes(architecture) !== true))("under %s", (method) => {
    const setup = setupOf(architecture, method);
    let opened: Awaited<ReturnType<typeof openAdapted>>;
    let start: NamedTensors<"float32">;
    let tensors: NamedTensors<"float32">;
    let on: Awaited<ReturnType<typeof write>>;
    beforeAll(async () => {
      opened = await openAdapted(setup);
      start = await opened.opened.initial();
      tensors = moved(start);
      on = await write(opened, tensors);
    });
    afterAll(() => opened.sessions[Symbol.asyncDispose]());

    test("gives losses of packs that are those of padded rows and of what generation sees, and gradients alike", async () => {
      const { adapter, model, sessions } = opened;
      const specs = trainedSpecs(adapter);
      const flat = (): Tensor<"float32"> => tensor("float32", [1, flatSize(specs)], new Float32Array(flatSize(specs)));
      const parameters = flat();
      flatten(tensors, specs, parameters.data);
      const { session } = await sessions.train(1);
      const run = async (width: number) => {
        const pack = packExamples(data, EXAMPLES, { width: width + adapter.virtualTokens * (width === WIDTHS.packed ? LENGTHS.length : 1), virtual: { count: adapter.virtualTokens, firstId: model.vocabSize } });
        const out = await session.run({ ...batchFeeds(stackClients([pack]), adapter), ...opened.opened.frozenFeeds, parameters, accumulated: flat() });
        return { rows: pack.rows, nll: bits(out["nll"]), gradient: bits(out["accumulated_out"]) };
      };
      const [packed, padded] = [await run(WIDTHS.packed), await run(WIDTHS.padded)];
      expect([packed.rows, padded.rows]).toEqual([1, LENGTHS.length]);
      expect(relativeError(packed.nll, padded.nll)).toBeLessThan(1e-5);
      expect(relativeError(padded.nll, await lossesInGeneration(opened, tensors))).toBeLessThan(1e-5);
      expect(relativeError(packed.gradient, padded.gradient)).toBeLessThan(1e-4);
      expect(padded.gradient.some((x) => Math.abs(x) > 1e-3)).toBe(true);
    });

    test.each(Object.entries(WIDTHS))("lowers its loss over ten steps: %s", async (_, packTokens) => {
      const losses: number[] = [];
      const context = { ...opened, setup: { ...setup, packTokens }, onStep: ({ loss }: { readonly loss: number }) => losses.push(loss), aborted: () => false };
      const [result] = await trainGroup(context, [{ client: 0, round: 1, steps: 10, stepsDone: 0, totalSteps: 10, adapter: start, examples: EXAMPLES }]);
      expect(succeeded(result).skippedSteps).toBe(0);
      expect(losses.every(Number.isFinite)).toBe(true);
      expect(must(losses[0], "loss") - must(losses[9], "loss")).toBeGreaterThan(0.01);
    });

    test("writes with a cache what full passes give, from other logits than the base", () => {
      expect(likeliest(on)).toEqual(joined(on.texts));
      // The first place has the same tokens before it.
      const first = ({ logits, vocabSize }: typeof on): Float32Array => logits.subarray(0, vocabSize);
      expect(relativeError(first(on), first(off))).toBeGreaterThan(0.02);
    });

    test("goes on from an earlier text as if each text and continuation were read whole", async () => {
      expect(on.textsAfterShared).toEqual(on.texts);
      const { together, single, apart } = await scoreBothWays(opened, tensors);
      expect(apart).toHaveLength(10);
      expect(relativeError(together, apart)).toBeLessThan(1e-5);
      expect(relativeError(single, apart)).toBeLessThan(1e-5);
    });

    test("merges into a model that writes the same, or says why it does not merge", async () => {
      const { adapter, model } = opened;
      const out = join(root, `${architecture} ${method}`);
      const { parameters, frozen } = await opened.opened.saved(tensors);
      const merge = (): void => exportMerged({ modelFolder: setup.modelFolder, out }, model, adapter, new Map([...parameters, ...frozen]));
      if (typeof adapter.merge !== "function") {
        expect(merge).toThrow(adapter.merge.none);
        return;
      }
      merge();
      const { adapter: _none, ...bare } = setup;
      const merged = await openModel({ ...bare, modelFolder: out });
      await using _sessions = merged.sessions;
      const written = await write(merged, undefined);
      expect(joined(written.texts)).toEqual(joined(on.texts));
      expect(likeliest(written)).toEqual(joined(on.texts));
      expect(relativeError(written.logits, on.logits)).toBeLessThan(1e-4);
    });
  });

  test.each(METHODS.filter((method) => REFUSED[method]?.includes(architecture)))("refuses %s, and says why", (method) => {
    const bind = (): unknown => bindAdapter(adapterSchema.parse({ method, ...SETTINGS[method] }), openTiny(TINY_CONFIGS[architecture]));
    expect(bind).toThrow(FedtuneError);
    expect(bind).toThrow(expect.objectContaining({ code: "config", message: expect.stringMatching(/^adapter\.\w+: expected .+, got /) }));
  });
});
