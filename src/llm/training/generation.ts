/** Generates text token by token with a cache of keys and values; several prompts at once, padded on the left. */
import { FedtuneError, interrupted, must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import type { Session } from "../../engine/runtime/onnx-session.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { HIDDEN_POSITION } from "./graphs.ts";
import { sampleToken } from "./sampling.ts";
import type { GenerateOptions } from "./types.ts";

export interface GenerationContext {
  readonly session: Session;
  readonly model: ArchitectureModel;
  readonly tokenizer: Tokenizer;
  /** float32 `[1, P]` */
  readonly parameters: Tensor;
  readonly aborted: () => boolean;
  readonly onToken: (row: number, id: number) => void;
}

/** How a text stands while it grows. */
interface Text {
  readonly ids: number[];
  done: boolean;
}

function emptyCache({ layers, keyValueHeads, headWidth }: ArchitectureModel, rows: number): Record<string, Tensor> {
  const empty = tensor("float32", [rows, keyValueHeads, 0, headWidth], new Float32Array(0));
  return Object.fromEntries(Array.from({ length: layers }, (_, i) => [[`past_key_${i}`, empty], [`past_value_${i}`, empty]] as const).flat());
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
  const { session, model, tokenizer, parameters } = context;
  const rows = prompts.length;
  const longest = Math.max(0, ...prompts.map((p) => p.length));
  const shortest = Math.min(...prompts.map((p) => p.length));
  if (shortest === 0) throw new FedtuneError("config", { where: "prompt", expected: "at least one token", got: "an empty prompt", remedy: "Give some text" });
  if (longest + options.maxNewTokens > model.maxPositions) {
    throw new FedtuneError("config", { where: "prompt", expected: `prompt and new tokens within the model's ${model.maxPositions} positions`, got: `${longest} + ${options.maxNewTokens}`, remedy: "Shorten the prompt or lower max_new_tokens" });
  }
  const texts = prompts.map((): Text => ({ ids: [], done: false }));
  const padding = prompts.map((p) => longest - p.length);
  const keyPositions = (length: number): Tensor =>
    tensor("int32", [rows, length], Int32Array.from({ length: rows * length }, (_, i) => ((i % length) < (padding[Math.floor(i / length)] ?? 0) ? HIDDEN_POSITION : (i % length) - (padding[Math.floor(i / length)] ?? 0))));
  const ids = new Int32Array(rows * longest);
  prompts.forEach((prompt, row) => ids.set(prompt, row * longest + (padding[row] ?? 0)));
  const positions = Int32Array.from(ids, (_, i) => Math.max(0, (i % longest) - (padding[Math.floor(i / longest)] ?? 0)));

  let feeds: Record<string, Tensor> = {
    ids: tensor("int32", [1, rows, longest], ids),
    positions: tensor("int32", [1, rows, longest], positions),
    rows: tensor("int32", [1, rows], Int32Array.from({ length: rows }, (_, row) => (row + 1) * longest - 1)),
    ...emptyCache(model, rows),
  };
  for (let step = 0; step < options.maxNewTokens; step++) {
    if (context.aborted()) throw interrupted("generation");
    const out = await session.run({ ...feeds, key_positions: keyPositions(longest + step), parameters });
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
      positions: tensor("int32", [1, rows, 1], Int32Array.from(padding, (pad) => longest + step - pad)),
      rows: tensor("int32", [1, rows], Int32Array.from({ length: rows }, (_, row) => row)),
      ...nextCache(out, model.layers),
    };
  }
  return texts.map((text) => Int32Array.from(text.ids));
}
