/** Logits of every place of a text by one forward pass without a cache of earlier tokens. */
import { must } from "../../src/core/base/errors.ts";
import { tensor, type Tensor } from "../../src/core/base/tensor.ts";
import type { Session } from "../../src/engine/runtime/onnx-session.ts";
import type { ArchitectureModel } from "../../src/llm/architectures/architecture.ts";

export interface FullPass {
  /** Of `generateGraph`. */
  readonly session: Session;
  readonly model: ArchitectureModel;
  /** float32 `[1, P]` */
  readonly parameters: Tensor;
}

/** `[T · V]` logits of ids `[T]`. */
export async function fullLogits({ session, model, parameters }: FullPass, ids: readonly number[]): Promise<Float32Array> {
  const t = ids.length;
  const places = Int32Array.from({ length: t }, (_, i) => i);
  const none = tensor("float32", [1, model.keyValueHeads, 0, model.headWidth], new Float32Array(0));
  const past = Object.fromEntries(Array.from({ length: model.layers }, (_, i) => [[`past_key_${i}`, none], [`past_value_${i}`, none]] as const).flat());
  const { logits } = await session.run({
    ids: tensor("int32", [1, 1, t], Int32Array.from(ids)), positions: tensor("int32", [1, 1, t], places), key_positions: tensor("int32", [1, t], places),
    rows: tensor("int32", [1, t], places), parameters, ...past,
  });
  // The graph declares logits as float32.
  return must(logits, "logits").data as Float32Array;
}
