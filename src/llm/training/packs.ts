/** The micro-batches of a trainer's examples, with room for an adapter's virtual tokens. */
import type { BoundAdapter } from "../adapters/adapter.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { microBatches } from "../data/pack.ts";
import type { PackedRows } from "../data/types.ts";
import type { TrainerSetup } from "./setup.ts";

/** Packs of examples: every example has its own virtual tokens in front. */
export function packsOf({ data, packTokens, runtime }: TrainerSetup, { model, adapter }: { readonly model: ArchitectureModel; readonly adapter: BoundAdapter | undefined }, examples: ArrayLike<number>): readonly PackedRows[] {
  const count = adapter?.virtualTokens ?? 0;
  return microBatches(data, examples, { width: packTokens + count, tokensPerMicroBatch: runtime.tokensPerMicroBatch, virtual: { count, firstId: model.vocabSize } });
}
