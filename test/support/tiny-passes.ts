/** What packs, merged models and caches of small models give under a random adapter: for tests of architectures. */
import { must } from "../../src/core/base/errors.ts";
import { tensor, type Tensor } from "../../src/core/base/tensor.ts";
import { exportMerged } from "../../src/llm/adapters/merge.ts";
import { adapterSchema } from "../../src/llm/adapters/settings.ts";
import { openArchitecture } from "../../src/llm/architectures/all.ts";
import { packExamples } from "../../src/llm/data/pack.ts";
import { stackClients } from "../../src/llm/data/stack.ts";
import { IGNORED_LABEL } from "../../src/llm/data/types.ts";
import { batchFeeds } from "../../src/llm/training/batch-feeds.ts";
import { startCache } from "../../src/llm/training/generation.ts";
import { HIDDEN_POSITION } from "../../src/llm/training/graphs.ts";
import { type FullPass, fullLogits } from "./full-logits.ts";
import { openAdapted, randomAdapter, randomDataset, tinySetup } from "./tiny-training.ts";

type Settings = Readonly<Record<string, unknown>>;

async function openAdaptedTo(folder: string, settings: Settings, lengths: readonly number[] = []) {
  const { vocabSize } = await openArchitecture(folder);
  const data = randomDataset(lengths, vocabSize);
  return { data, ...(await openAdapted({ ...tinySetup(folder, data), adapter: adapterSchema.parse(settings) })) };
}

/** Losses of every labelled token, sorted, examples laid into one row: under a random adapter, or of the base alone. */
async function lossesOf({ data, adapter, opened, model, sessions }: Awaited<ReturnType<typeof openAdaptedTo>>, examples: readonly number[], { adapted }: { readonly adapted: boolean }): Promise<readonly number[]> {
  const virtual = { count: adapted ? adapter.virtualTokens : 0, firstId: model.vocabSize };
  const width = examples.reduce((sum, i) => sum + (data.offsets[i + 1] ?? 0) - (data.offsets[i] ?? 0) + virtual.count, 0);
  const { weights: _, ...feeds } = batchFeeds(stackClients([packExamples(data, examples, { width, virtual })]), adapted ? adapter : undefined);
  const session = await sessions.loss(adapted);
  const { nll } = await session.run({ ...feeds, ...(adapted ? await opened.feeds(randomAdapter(adapter.parameters)) : {}) });
  // The graph declares it as float32.
  return [...(must(nll, "nll").data as Float32Array)].sort((a, b) => a - b);
}

/** Losses under a random adapter: examples of these lengths in one row, and each in a row of its own. */
export async function lossesOfPacks(folder: string, settings: Settings, lengths: readonly number[]): Promise<{ readonly packed: readonly number[]; readonly apart: readonly number[] }> {
  const tiny = await openAdaptedTo(folder, settings, lengths);
  using _ = tiny.sessions;
  const apart: number[] = [];
  for (const i of lengths.keys()) apart.push(...(await lossesOf(tiny, [i], { adapted: true })));
  return { packed: await lossesOf(tiny, [...lengths.keys()], { adapted: true }), apart: apart.sort((a, b) => a - b) };
}

/** Losses of one example of this length under a random adapter: by the graph of training, and from the logits of the graph of generation. */
export async function lossesOfLogits(folder: string, settings: Settings, length: number): Promise<{ readonly trained: readonly number[]; readonly generated: readonly number[] }> {
  const tiny = await openAdaptedTo(folder, settings, [length]);
  using pool = tiny.sessions;
  const { adapter, data, model, opened } = tiny;
  const adapted = { adapter, feeds: await opened.feeds(randomAdapter(adapter.parameters)), prefix: () => pool.prefix() };
  const logits = await fullLogits({ session: await pool.generate(true), model, adapted }, [...data.ids]);
  const generated = Array.from(data.labels).flatMap((label, i) => {
    if (i === 0 || label === IGNORED_LABEL) return [];
    const row = logits.subarray((i - 1) * model.vocabSize, i * model.vocabSize);
    return [Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - (row[label] ?? 0)];
  });
  return { trained: await lossesOf(tiny, [0], { adapted: true }), generated: generated.sort((a, b) => a - b) };
}

/** Losses of a random adapter on its base, of the base alone, and of both merged in `out`. */
export async function lossesOfMerged(folder: string, settings: Settings, { out, lengths }: { readonly out: string; readonly lengths: readonly number[] }): Promise<Readonly<Record<"adapted" | "base" | "merged", readonly number[]>>> {
  const [before, examples] = [await openAdaptedTo(folder, settings, lengths), [...lengths.keys()]];
  using _before = before.sessions;
  exportMerged({ modelFolder: folder, out }, before.model, before.adapter, randomAdapter(before.adapter.parameters));
  const after = await openAdaptedTo(out, settings, lengths);
  using _after = after.sessions;
  return { adapted: await lossesOf(before, examples, { adapted: true }), base: await lossesOf(before, examples, { adapted: false }), merged: await lossesOf(after, examples, { adapted: false }) };
}

/** Logits of a text's places from `first` on under a random adapter: token by token with a cache behind padding on the left, and at once. */
export async function logitsOfCache(folder: string, settings: Settings, text: { readonly ids: readonly number[]; readonly first: number }): Promise<{ readonly cached: Float32Array; readonly full: Float32Array }> {
  const { adapter, opened, model, sessions } = await openAdaptedTo(folder, settings);
  using pool = sessions;
  const pass: FullPass = { session: await pool.generate(true), model, adapted: { adapter, feeds: await opened.feeds(randomAdapter(adapter.parameters)), prefix: () => pool.prefix() } };
  const full = (await fullLogits(pass, text.ids)).subarray(text.first * model.vocabSize);
  return { cached: await cachedLogits(pass, text), full };
}

const PADDING = 2;

async function cachedLogits({ session, model, adapted }: FullPass, { ids, first }: { readonly ids: readonly number[]; readonly first: number }): Promise<Float32Array> {
  const [virtual, prefix] = [adapted?.adapter.virtualTokens ?? 0, adapted?.adapter.prefixTokens ?? 0];
  const all = [...Array.from({ length: virtual }, (_, i) => model.vocabSize + i), ...ids];
  const start = PADDING + virtual + first + 1;
  const int = (shape: readonly number[], value: (i: number) => number): Tensor => tensor("int32", shape, Int32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => value(i)));
  const logits: number[] = [];
  let cache = await startCache({ model, adapted }, 1);
  for (let end = start, begin = 0; end <= PADDING + all.length; begin = end, end++) {
    const length = end - begin;
    const at = (i: number): number => begin + i - PADDING;
    const out = await session.run({
      ids: int([1, 1, length], (i) => all[at(i)] ?? 0), positions: int([1, 1, length], (i) => prefix + Math.max(0, at(i))), rows: int([1, 1], () => length - 1),
      key_positions: int([1, prefix + end], (i) => (i < prefix ? i : i < prefix + PADDING ? HIDDEN_POSITION : i - PADDING)),
      ...adapted?.feeds, ...cache,
    });
    // The graph declares logits as float32.
    logits.push(...(must(out["logits"], "logits").data as Float32Array));
    cache = Object.fromEntries(Array.from({ length: model.layers }, (_, i) => [[`past_key_${i}`, must(out[`key_${i}`], "key")], [`past_value_${i}`, must(out[`value_${i}`], "value")]] as const).flat());
  }
  return Float32Array.from(logits);
}

/** Renames the tensors of a checkpoint, all that begin so, to what stands behind. */
export function leaveOut(prefix: string): (tensors: Map<string, Tensor>) => void {
  return (tensors) => {
    const renamed = [...tensors].map(([name, t]) => [name.startsWith(prefix) ? name.slice(prefix.length) : name, t] as const);
    tensors.clear();
    for (const [name, t] of renamed) tensors.set(name, t);
  };
}
