/** The tensors of a batch that the loss graphs take. */
import { tensor } from "../../core/base/tensor.ts";
import type { Tensor } from "../../core/base/tensor.ts";
import type { BoundAdapter } from "../adapters/adapter.ts";
import type { StackedRows } from "../data/stack.ts";

export function batchFeeds(batch: StackedRows, adapter?: Pick<BoundAdapter, "prefixTokens">): Record<string, Tensor> {
  const { clients, rows, width, labelled } = batch;
  const byToken = [clients, rows, width];
  const prefix = adapter?.prefixTokens ?? 0;
  return {
    ids: tensor("int32", byToken, batch.ids),
    positions: tensor("int32", byToken, batch.positions),
    segments: tensor("int32", byToken, batch.segments),
    labelled_rows: tensor("int32", [clients, labelled], batch.labelledRows),
    targets: tensor("int32", [clients, labelled], batch.targets),
    weights: tensor("float32", [clients, labelled], batch.weights),
    ...(prefix > 0 ? { key_slots: tensor("int32", [prefix + width], new Int32Array(prefix + width)) } : {}),
  };
}
