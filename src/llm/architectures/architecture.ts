/** What an architecture tells the rest: its tensors, its linear modules, and its forward pass with sites for adapters. */
import type { GraphBuilder } from "../../engine/graph/builder.ts";
import type { Dim } from "../../engine/graph/dims.ts";
import type { Value } from "../../engine/graph/value.ts";

/** A tensor of the prepared base: tensors of the checkpoint joined along their first axis. */
export interface BaseTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Names in the checkpoint, with the rows that each contributes. */
  readonly parts: readonly { readonly name: string; readonly rows: number }[];
}

/** A linear module by its Hugging Face path: y = x · weightᵀ. */
export interface LinearModule {
  readonly path: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Name of its weight in the checkpoint, `[outFeatures, inFeatures]`. */
  readonly weight: string;
  /** Whether it is the output embedding, which PEFT's `all-linear` leaves out. */
  readonly isHead: boolean;
}

/** Where an adapter may attach: a linear module with what goes in and comes out. */
export interface Site {
  readonly path: string;
  /** `[C, N, inFeatures]` */
  readonly input: Value;
  /** `[C, N, outFeatures]` */
  readonly output: Value;
}

/** What the adapter makes of a site's output; the output itself where none is attached. */
export type Adapt = (site: Site) => Value;

/** Keys and values of one layer, each `[X, K, S, E]` with X = C · B rows. */
export interface LayerCache {
  readonly key: Value;
  readonly value: Value;
}

export interface ForwardInputs {
  /** int32 `[C, B, T]` token ids. */
  readonly ids: Value;
  /** int32 `[C, B, T]` position of each token within its example. */
  readonly positions: Value;
  /** float32 `[X, 1, 1, T, S]`, 0 where a query may look at a key and very negative elsewhere. */
  readonly mask: Value;
  /** Keys and values of earlier tokens, one entry a layer; absent in training. */
  readonly past?: readonly LayerCache[];
  /** Name of the joined key dimension where there is a past. */
  readonly keys?: string;
}

export interface ForwardResult {
  /** float32 `[C, N, D]` after the final norm, N = B · T. */
  readonly hidden: Value;
  /** Keys and values of past and new tokens together. */
  readonly cache: readonly LayerCache[];
}

/** A model of some architecture, described by its config alone. */
export interface ArchitectureModel {
  readonly modelType: string;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly keyValueHeads: number;
  readonly headWidth: number;
  /** Longest sequence that the config promises. */
  readonly maxPositions: number;
  readonly tensors: readonly BaseTensor[];
  readonly linears: readonly LinearModule[];
  /** The output embedding: its module path and the prepared tensor `[V, D]` that it multiplies by. */
  readonly head: { readonly path: string; readonly tensor: string };
  forward(builder: GraphBuilder, inputs: ForwardInputs, adapt: Adapt): ForwardResult;
}

/** One architecture, named as `model_type` in config.json. */
export interface Architecture {
  /** Reads config.json. Throws FedtuneError("model") that names a field it cannot honour. */
  open(config: Readonly<Record<string, unknown>>, where: string): ArchitectureModel;
}

/** The tokens' dimensions `[C, B, T]` of ids. */
export function tokenDims(ids: Value): { readonly clients: Dim; readonly rows: Dim; readonly tokens: Dim } {
  const [clients = 1, rows = 1, tokens = 1] = ids.shape;
  return { clients, rows, tokens };
}
