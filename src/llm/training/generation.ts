/** Generates text token by token with a cache of keys and values; several prompts at once, padded on the left. */
import { FedtuneError, interrupted, must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import type { Session } from "../../engine/runtime/onnx-session.ts";
import type { BoundAdapter } from "../adapters/adapter.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { HIDDEN_POSITION } from "./graphs.ts";
import { sampleToken } from "./sampling.ts";
import type { GenerateOptions } from "./types.ts";

export interface GenerationContext {
  readonly session: Session;
  readonly model: ArchitectureModel;
  readonly tokenizer: Tokenizer;
  /** The adapter that the session was built with, its tensors as feeds, and the session that makes its prefix. */
  readonly adapted: { readonly adapter: BoundAdapter; readonly feeds: Readonly<Record<string, Tensor>>; readonly prefix: () => Promise<Session> } | undefined;
  readonly aborted: () => boolean;
  readonly onToken: (row: number, id: number) => void;
}

/** How a text stands while it grows. */
interface Text {
  readonly ids: number[];
  done: boolean;
}

/** Keys and values that stand before every prompt: the adapter's prefix, or none. */
export async function startCache({ model, adapted }: Pick<GenerationContext, "model" | "adapted">, rows: number): Promise<Record<string, Tensor>> {
  const { layers, keyValueHeads, headWidth } = model;
  const n = adapted?.adapter.prefixTokens ?? 0;
  const prefix = adapted === undefined || n === 0 ? undefined : await (await adapted.prefix()).run(adapted.feeds);
  const everyRow = (name: string): Tensor => {
    const data = new Float32Array(rows * keyValueHeads * n * headWidth);
    // The graph declares it as float32.
    const own = prefix === undefined ? undefined : (must(prefix[name], name).data as Float32Array);
    if (own !== undefined) for (let row = 0; row < rows; row++) data.set(own, row * own.length);
    return tensor("float32", [rows, keyValueHeads, n, headWidth], data);
  };
  return Object.fromEntries(Array.from({ length: layers }, (_, i) => [[`past_key_${i}`, everyRow(`key_${i}`)], [`past_value_${i}`, everyRow(`value_${i}`)]] as const).flat());
}

function nextCache(out: Readonly<Record<string, Tensor>>, layers: number): Record<string, Tensor> {
  return Object.fromEntries(
    Array.from({ length: layers }, (_, i) => [[`past_key_${i}`, must(out[`key_${i}`], "key")], [`past_value_${i}`, must(out[`value_${i}`], "value")]] as const).flat(),
  );
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
 * New token ids of each prompt. Throws FedtuneError("config") for an empty prompt or one that leaves no room in the
 * model's context; "interrupted" once `aborted` says so.
 */
export async function generateTexts(context: GenerationContext, prompts: readonly Int32Array[], options: GenerateOptions): Promise<readonly Int32Array[]> {
  const { session, model, tokenizer, adapted } = context;
  const rows = prompts.length;
  const [virtual, prefix] = [adapted?.adapter.virtualTokens ?? 0, adapted?.adapter.prefixTokens ?? 0];
  const shortest = Math.min(...prompts.map((p) => p.length));
  if (shortest === 0) throw new FedtuneError("config", { where: "prompt", expected: "at least one token", got: "an empty prompt", remedy: "Give some text" });
  const starts = prompts.map((p) => Int32Array.from([...Array.from({ length: virtual }, (_, i) => model.vocabSize + i), ...p]));
  const longest = Math.max(0, ...starts.map((p) => p.length));
  if (prefix + longest + options.maxNewTokens > model.maxPositions) {
    const own = virtual + prefix > 0 ? `, ${virtual + prefix} of the adapter's own included` : "";
    throw new FedtuneError("config", { where: "prompt", expected: `prompt and new tokens within the model's ${model.maxPositions} positions`, got: `${prefix + longest} + ${options.maxNewTokens}${own}`, remedy: "Shorten the prompt or lower max_new_tokens" });
  }
  const texts = prompts.map((): Text => ({ ids: [], done: false }));
  const padding = starts.map((p) => longest - p.length);
  // Keys in their order: the prefix, padding that nobody sees, the text.
  const keyPosition = (pad: number, at: number): number => (at < prefix || at >= prefix + pad ? at - (at < prefix ? 0 : pad) : HIDDEN_POSITION);
  const keyPositions = (length: number): Tensor =>
    tensor("int32", [rows, length], Int32Array.from({ length: rows * length }, (_, i) => keyPosition(padding[Math.floor(i / length)] ?? 0, i % length)));
  const ids = new Int32Array(rows * longest);
  starts.forEach((start, row) => ids.set(start, row * longest + (padding[row] ?? 0)));
  const positions = Int32Array.from(ids, (_, i) => prefix + Math.max(0, (i % longest) - (padding[Math.floor(i / longest)] ?? 0)));

  let feeds: Record<string, Tensor> = {
    ids: tensor("int32", [1, rows, longest], ids),
    positions: tensor("int32", [1, rows, longest], positions),
    rows: tensor("int32", [1, rows], Int32Array.from({ length: rows }, (_, row) => (row + 1) * longest - 1)),
    ...(await startCache(context, rows)),
  };
  for (let step = 0; step < options.maxNewTokens; step++) {
    if (context.aborted()) throw interrupted("generation");
    const out = await session.run({ ...feeds, key_positions: keyPositions(prefix + longest + step), ...adapted?.feeds });
    // The graph declares logits as float32.
    const logits = must(out["logits"], "logits").data as Float32Array;
    const next = texts.map((text, row) => {
      const id = sampleToken(logits.subarray(row * model.vocabSize, (row + 1) * model.vocabSize), options, row, step);
      if (text.done) return id;
      if (accept(text, id, { options, tokenizer })) context.onToken(row, id);
      else text.done = true;
      return id;
    });
    if (texts.every((text) => text.done)) break;
    feeds = {
      ids: tensor("int32", [1, rows, 1], Int32Array.from(next)),
      positions: tensor("int32", [1, rows, 1], Int32Array.from(padding, (pad) => prefix + longest + step - pad)),
      rows: tensor("int32", [1, rows], Int32Array.from({ length: rows }, (_, row) => row)),
      ...nextCache(out, model.layers),
    };
  }
  return texts.map((text) => Int32Array.from(text.ids));
}
