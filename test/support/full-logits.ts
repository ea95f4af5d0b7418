/** Logits of every place of a text by one forward pass without a cache of earlier tokens; what the adapter puts in front of a text comes first. */
import { must } from "../../src/core/base/errors.ts";
import { tensor } from "../../src/core/base/tensor.ts";
import type { Session } from "../../src/engine/runtime/onnx-session.ts";
import type { GenerationContext } from "../../src/llm/training/generation.ts";
import { startCache } from "../../src/llm/training/generation.ts";

/** The session of `generateGraph`, and the adapter that it was built with. */
export type FullPass = Pick<GenerationContext, "model" | "adapted"> & { readonly session: Session };

/** `[T · V]` logits of ids `[T]`, those of virtual tokens left out. */
export async function fullLogits({ session, model, adapted }: FullPass, ids: readonly number[]): Promise<Float32Array> {
  const [virtual, prefix] = [adapted?.adapter.virtualTokens ?? 0, adapted?.adapter.prefixTokens ?? 0];
  const t = virtual + ids.length;
  const from = (start: number, length: number): Int32Array => Int32Array.from({ length }, (_, i) => start + i);
  const { logits } = await session.run({
    ids: tensor("int32", [1, 1, t], Int32Array.from([...from(model.vocabSize, virtual), ...ids])), positions: tensor("int32", [1, 1, t], from(prefix, t)),
    key_positions: tensor("int32", [1, prefix + t], from(0, prefix + t)), rows: tensor("int32", [1, ids.length], from(virtual, ids.length)),
    ...adapted?.feeds, ...(await startCache({ model, adapted }, 1)),
  });
  // The graph declares logits as float32.
  return must(logits, "logits").data as Float32Array;
}
