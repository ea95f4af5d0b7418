/** Generates text token by token with a cache of keys and values; several prompts at once, padded on the left. */
import { FedtuneError, interrupted, must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import type { Session } from "../../engine/runtime/onnx-session.ts";
import type { BoundAdapter } from "../adapters/adapter.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { DecodeCache } from "./decode-cache.ts";
import { HIDDEN_POSITION } from "./graphs.ts";
import { sampleToken } from "./sampling.ts";
import type { GenerateOptions } from "./types.ts";

/** Keys and values of a text that stands before every prompt, the adapter's own tokens at its beginning. */
export interface EarlierText {
  /** How many. */
  readonly keys: number;
  /** `[1, K, keys, E]` by name: key_i, value_i. */
  readonly states: Readonly<Record<string, Tensor>>;
}

export interface GenerationContext {
  /** Of `generateGraph`: reads the prompts. */
  readonly session: Session;
  /** Opens the session of `decodeGraph`, for every token after the first. */
  readonly decode: () => Promise<Session>;
  readonly model: ArchitectureModel;
  readonly tokenizer: Tokenizer;
  /** The adapter that the session was built with, its tensors as feeds (parameters `[C, P]`), and the session that makes its prefix. */
  readonly adapted: { readonly adapter: BoundAdapter; readonly feeds: Readonly<Record<string, Tensor>>; readonly prefix: () => Promise<Session> } | undefined;
  /** The place of each row's prompt among those asked for: keys its random numbers; null for a row that only fills up. Absent: in order. */
  readonly places?: readonly (number | null)[];
  /** What keys each row's random numbers, by its place; absent: the place. */
  readonly draws?: readonly number[];
  /** What every prompt goes on from; absent: what the adapter puts before it. */
  readonly earlier?: EarlierText | undefined;
  readonly aborted: () => boolean;
  readonly onToken: (row: number, id: number) => void;
}

/** Rows whose texts have ended leave the batch once so many of its rows go on at most: leaving copies the others' keys and values. */
const LIVE_SHARE = 0.75;

/** How a text stands while it grows. */
interface Text {
  readonly ids: number[];
  done: boolean;
}

/** Keys and values that stand before every prompt: those of the earlier text, else the adapter's prefix, or none. */
export async function startCache({ model, adapted, earlier }: Pick<GenerationContext, "model" | "adapted" | "earlier">, rows: number): Promise<Record<string, Tensor>> {
  const { layers, keyValueHeads, headWidth } = model;
  const n = earlier?.keys ?? adapted?.adapter.prefixTokens ?? 0;
  const prefixes = earlier !== undefined ? [earlier.states] : adapted === undefined || n === 0 ? [] : await prefixesOf(adapted);
  const everyRow = (name: string): Tensor => {
    const data = new Float32Array(rows * keyValueHeads * n * headWidth);
    const size = keyValueHeads * n * headWidth;
    for (let row = 0; row < rows && n > 0; row++) {
      const prefix = must(prefixes[Math.floor((row * prefixes.length) / rows)], "prefix");
      // The graph declares it as float32.
      data.set(must(prefix[name], name).data as Float32Array, row * size);
    }
    return tensor("float32", [rows, keyValueHeads, n, headWidth], data);
  };
  return Object.fromEntries(Array.from({ length: layers }, (_, i) => [[`past_key_${i}`, everyRow(`key_${i}`)], [`past_value_${i}`, everyRow(`value_${i}`)]] as const).flat());
}

/** The prefix of each of C adapters. */
async function prefixesOf({ prefix, feeds }: NonNullable<GenerationContext["adapted"]>): Promise<readonly Readonly<Record<string, Tensor>>[]> {
  const session = await prefix();
  const parameters = must(feeds["parameters"], "parameters");
  const [count = 1, size = 0] = parameters.shape;
  const results: Readonly<Record<string, Tensor>>[] = [];
  for (let c = 0; c < count; c++) {
    // Parameters are float32 by the graph's types.
    const own = tensor("float32", [1, size], (parameters.data as Float32Array).slice(c * size, (c + 1) * size));
    results.push(await session.run({ ...feeds, parameters: own }));
  }
  return results;
}

/** Appends a token and says whether it was: an end token is not. The token that completes a stop string is kept, and ends the text. */
function accept(text: Text, id: number, { options, tokenizer }: { readonly options: GenerateOptions; readonly tokenizer: Tokenizer }): boolean {
  if (options.stopAtEnd && tokenizer.endIds.includes(id)) return false;
  text.ids.push(id);
  if (options.stop.length > 0) {
    const decoded = tokenizer.decode(text.ids, { skipSpecialTokens: true });
    if (options.stop.some((stop) => decoded.includes(stop))) text.done = true;
  }
  return true;
}

/**
 * New token ids of each prompt; with C adapters the first P / C prompts are the first one's, and so on. Throws FedtuneError("config") for an empty prompt or one that leaves no room in the
 * model's context; "interrupted" once `aborted` says so.
 */
export async function generateTexts(context: GenerationContext, prompts: readonly Int32Array[], options: GenerateOptions): Promise<readonly Int32Array[]> {
  const { session, model, tokenizer, adapted } = context;
  const rows = prompts.length;
  const clients = adapted?.feeds["parameters"]?.shape[0] ?? 1;
  const rowsEach = rows / clients;
  const [virtual, prefix] = context.earlier === undefined ? [adapted?.adapter.virtualTokens ?? 0, adapted?.adapter.prefixTokens ?? 0] : [0, context.earlier.keys];
  const shortest = Math.min(...prompts.map((p) => p.length));
  if (shortest === 0) throw new FedtuneError("config", { where: "prompt", expected: "at least one token", got: "an empty prompt", remedy: "Give some text" });
  const starts = prompts.map((p) => Int32Array.from([...Array.from({ length: virtual }, (_, i) => model.vocabSize + i), ...p]));
  const longest = Math.max(0, ...starts.map((p) => p.length));
  if (prefix + longest + options.maxNewTokens > model.maxPositions) {
    const own = virtual + prefix > 0 ? `, ${virtual + prefix} of the adapter's own included` : "";
    throw new FedtuneError("config", { where: "prompt", expected: `prompt and new tokens within the model's ${model.maxPositions} positions`, got: `${prefix + longest} + ${options.maxNewTokens}${own}`, remedy: "Shorten the prompt or lower max_new_tokens" });
  }
  const texts = prompts.map((_, row): Text => ({ ids: [], done: context.places?.[row] === null }));
  const padding = starts.map((p) => longest - p.length);
  // Keys in their order: the prefix, padding that nobody sees, the text.
  const keyPosition = (pad: number, at: number): number => (at < prefix || at >= prefix + pad ? at - (at < prefix ? 0 : pad) : HIDDEN_POSITION);
  const keys = prefix + longest;
  const keyPositions = tensor("int32", [rows, keys], Int32Array.from({ length: rows * keys }, (_, i) => keyPosition(padding[Math.floor(i / keys)] ?? 0, i % keys)));
  const ids = new Int32Array(rows * longest);
  starts.forEach((start, row) => ids.set(start, row * longest + (padding[row] ?? 0)));
  const positions = Int32Array.from(ids, (_, i) => prefix + Math.max(0, (i % longest) - (padding[Math.floor(i / longest)] ?? 0)));

  if (options.maxNewTokens === 0) return texts.map(() => new Int32Array());
  if (context.aborted()) throw interrupted("generation");
  let out = await session.run({
    ids: tensor("int32", [clients, rowsEach, longest], ids),
    positions: tensor("int32", [clients, rowsEach, longest], positions),
    rows: tensor("int32", [clients, rowsEach], Int32Array.from({ length: rows }, (_, row) => ((row % rowsEach) + 1) * longest - 1)),
    key_positions: keyPositions, ...(await startCache(context, rows)), ...adapted?.feeds,
  });
  let cache: DecodeCache | undefined;
  /** The text of each row of the batch. */
  let batch: readonly number[] = texts.map((_, row) => row);
  for (let step = 0; ; step++) {
    // The graph declares logits as float32.
    const logits = must(out["logits"], "logits").data as Float32Array;
    let next = batch.map((row, at) => {
      const text = must(texts[row], "text");
      if (text.done) return 0;
      const place = context.places?.[row] ?? row;
      const id = sampleToken(logits.subarray(at * model.vocabSize, (at + 1) * model.vocabSize), options, context.draws?.[place] ?? place, step);
      if (accept(text, id, { options, tokenizer })) context.onToken(place, id);
      else text.done = true;
      return id;
    });
    if (step + 1 === options.maxNewTokens || texts.every((text) => text.done)) break;
    if (context.aborted()) throw interrupted("generation");
    if (cache === undefined) cache = new DecodeCache({ outputs: out, layers: model.layers, positions: keyPositions });
    else cache.append(out);
    const live = batch.flatMap((row, at) => (texts[row]?.done === true ? [] : [at]));
    // Rows of several adapters stay: each has as many.
    if (clients === 1 && live.length <= LIVE_SHARE * batch.length) {
      cache.keep(live);
      [batch, next] = [live.map((at) => batch[at] ?? 0), live.map((at) => next[at] ?? 0)];
    }
    const places = Int32Array.from(batch, (row) => keys + step - (padding[row] ?? 0));
    const shape = [clients, batch.length / clients, 1];
    out = await (await context.decode()).run({ ids: tensor("int32", shape, Int32Array.from(next)), positions: tensor("int32", shape, places), ...cache.feeds(places), ...adapted?.feeds });
  }
  return texts.map((text) => Int32Array.from(text.ids));
}
