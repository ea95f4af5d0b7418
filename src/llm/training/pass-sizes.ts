/** How large a training pass may be, from the runtime's settings, and how much memory it takes by the engine's model. */
import { must } from "../../core/base/errors.ts";
import { isHalf } from "../../core/base/tensor.ts";
import { bytesOfValue, findPeak } from "../../engine/passes/memory-model.ts";
import { optimizerState } from "../../engine/passes/optimizers.ts";
import type { BoundAdapter } from "../adapters/adapter.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { roundedBase } from "../architectures/quantized-weights.ts";
import { flatSize } from "./flat.ts";
import { trainedSpecs, trainGraph, type ActivationBudget, type LossGraphOptions } from "./graphs.ts";
import { halfPrecisionOf } from "./compute-precision.ts";
import type { ResolvedRuntime } from "./setup.ts";
import type { TrainingSettings } from "./settings.ts";

/** Rows below so many tokens are left whole: more nodes cost there what smaller scores save, or memory (LOG.md). */
const CUT_FROM = 384;
/** Blocks of attention's queries in longer rows: five eighths of the scores, and a quarter of them at a time. */
const BLOCKS = 4;

/** What decides about the sizes of a pass. */
export interface PassLimits {
  readonly runtime: ResolvedRuntime;
  /** Longest row of tokens. */
  readonly packTokens: number;
  readonly adapter: BoundAdapter | undefined;
}

/** What the length of rows that the loss graphs are fed must be a multiple of: the blocks that attention's queries are cut into. */
export function attentionBlocks({ packTokens }: Pick<PassLimits, "packTokens">): number {
  return packTokens < CUT_FROM ? 1 : BLOCKS;
}

/** Options of the loss graphs of `clients` clients side by side. */
export function lossOptions({ runtime, packTokens }: PassLimits, clients: number): LossGraphOptions {
  return { clients: clients === 1 ? 1 : "C", maxLabelledRows: Math.max(packTokens, runtime.tokensPerMicroBatch) * clients, attentionBlocks: attentionBlocks({ packTokens }) };
}

/** Sizes of a pass of `clients` clients at its largest: as many full rows as a micro-batch takes, every token labelled. */
function largestSizes({ runtime: { tokensPerMicroBatch }, packTokens, adapter }: PassLimits, clients: number): ActivationBudget["sizes"] {
  const width = packTokens + (adapter?.virtualTokens ?? 0);
  const rows = Math.max(1, Math.floor(tokensPerMicroBatch / width));
  return new Map([["C", clients], ["B", rows], ["T", Math.ceil(width / attentionBlocks({ packTokens }))], ["L", rows * width], ["S", width + (adapter?.prefixTokens ?? 0)]]);
}

/** The memory that a pass may take; undefined: no limit. */
export function activationBudget(limits: PassLimits, clients: number): ActivationBudget | undefined {
  const { activationBytes, dataParallel = 1 } = limits.runtime;
  return activationBytes === undefined ? undefined : { bytes: Math.floor(activationBytes / dataParallel), allBytes: activationBytes, sizes: largestSizes(limits, clients) };
}

/**
 * Bytes of a device's memory that training should take: the base as it is held, the values of the largest pass, and parameters,
 * gradients and moments of the clients side by side. What a runtime needs besides is left out.
 */
export function expectedDeviceBytes(model: ArchitectureModel, limits: PassLimits & { readonly adapter: BoundAdapter }, { optimizer }: Pick<TrainingSettings, "optimizer">): number {
  const { runtime: { clientsSideBySide: clients, basePrecision, float32Modules, compute }, adapter } = limits;
  const budget = activationBudget(limits, clients);
  const half = isHalf(compute) ? halfPrecisionOf(model, compute) : undefined;
  const { graph } = trainGraph({ model, adapter, rounded: roundedBase(model, basePrecision, { float32Modules }), half }, { ...lossOptions(limits, clients), budget });
  const base = graph.weights.reduce((sum, { id, name }) => sum + bytesOfValue(must(graph.values[id], name), new Map()), 0);
  const perClient = 4 * flatSize(trainedSpecs(adapter)) * (3 + optimizerState(optimizer).length);
  return base + findPeak(graph, largestSizes(limits, clients)).bytes + clients * perClient;
}
