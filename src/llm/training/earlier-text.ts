/** Keys and values of a text that many prompts begin with: computed once, kept while the next calls ask for the same. */
import { interrupted, must } from "../../core/base/errors.ts";
import { sha256 } from "../../core/base/hash.ts";
import { bytesOf, tensor } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import type { Session } from "../../engine/runtime/onnx-session.ts";
import { startCache, type EarlierText, type GenerationContext } from "./generation.ts";

type Context = Pick<GenerationContext, "model" | "adapted" | "aborted">;

/** Tokens of one pass: attention over more takes memory that grows with their square. */
const PASS_TOKENS = 512;
/** Texts whose keys and values are kept: one adapter's and the base's, say. */
const KEPT = 2;

/** Reads `ids` after what the adapter puts before every text. Throws FedtuneError("interrupted") once `aborted` says so. */
async function read(session: Session, { model, adapted, aborted }: Context, ids: Int32Array): Promise<EarlierText> {
  const virtual = adapted?.adapter.virtualTokens ?? 0;
  const all = Int32Array.from([...Array.from({ length: virtual }, (_, i) => model.vocabSize + i), ...ids]);
  let keys = adapted?.adapter.prefixTokens ?? 0;
  let past: Readonly<Record<string, Tensor>> = await startCache({ model, adapted }, 1);
  for (let at = 0; at < all.length; at += PASS_TOKENS) {
    if (aborted()) throw interrupted("evaluation");
    const piece = all.subarray(at, at + PASS_TOKENS);
    const positions = Int32Array.from(piece, (_, i) => keys + i);
    const next = keys + piece.length;
    const out = await session.run({
      ids: tensor("int32", [1, 1, piece.length], piece), positions: tensor("int32", [1, 1, piece.length], positions), rows: tensor("int32", [1, 1], Int32Array.of(piece.length - 1)),
      key_positions: tensor("int32", [1, next], Int32Array.from({ length: next }, (_, i) => i)), ...past, ...adapted?.feeds,
    });
    keys = next;
    past = Object.fromEntries(Array.from({ length: model.layers }, (_, i) => [[`past_key_${i}`, must(out[`key_${i}`], "key")], [`past_value_${i}`, must(out[`value_${i}`], "value")]] as const).flat());
  }
  return { keys, states: Object.fromEntries(Object.entries(past).map(([name, state]) => [name.slice("past_".length), state])) };
}

/** The texts read last, by their ids and the adapter that they were read under. */
export class EarlierTexts {
  readonly #kept = new Map<string, Promise<EarlierText>>();

  /** @param session of `generateGraph`, under the adapter where there is one */
  async get(session: Session, context: Context, ids: Int32Array): Promise<EarlierText> {
    const parameters = context.adapted?.feeds["parameters"];
    const key = sha256(bytesOf(ids), parameters === undefined ? "" : bytesOf(parameters.data));
    const found = this.#kept.get(key);
    const text = found ?? read(session, context, ids);
    // The one used last is the one dropped last; a failed one is not kept.
    this.#kept.delete(key);
    this.#kept.set(key, text);
    for (const old of [...this.#kept.keys()].slice(0, -KEPT)) this.#kept.delete(old);
    try {
      return await text;
    } catch (error) {
      this.#kept.delete(key);
      throw error;
    }
  }
}
