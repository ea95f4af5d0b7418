/** What a model is made of, and where an adapter may change its forward pass. */
import type { Value } from "../../engine/graph/value.ts";

/** A tensor of the prepared base: tensors of the checkpoint joined along their first axis. */
export interface BaseTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Names in the checkpoint, with the rows that each contributes. */
  readonly parts: readonly { readonly name: string; readonly rows: number }[];
}

/** A linear module by its Hugging Face path: y = x · weightᵀ + bias. */
export interface LinearModule {
  readonly path: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Name of its weight. */
  readonly weight: string;
  /** Name of its bias `[outFeatures]`; absent where it has none. */
  readonly bias?: string;
  /** How the checkpoint holds the weight: `[outFeatures, inFeatures]`, or transposed. */
  readonly layout: "out_in" | "in_out";
  /** Whether it is the output embedding, which PEFT's `all-linear` leaves out. */
  readonly isHead: boolean;
}

/** Where an adapter may change a linear module: what goes in and what comes out. */
export interface Site {
  readonly path: string;
  /** `[C, N, inFeatures]` */
  readonly input: Value;
  /** `[C, N, outFeatures]`, before the bias. */
  readonly product: Value;
  /** `[outFeatures]` or `[C, 1, outFeatures]`; absent where the module has none. */
  readonly bias?: Value;
  /** x · weightᵀ of the module's own weight, for other inputs `[…, inFeatures]`. */
  readonly project: (x: Value) => Value;
}

/** Keys and values of one layer, each `[X, K, S, E]` with X = C · B rows. */
export interface LayerCache {
  readonly key: Value;
  readonly value: Value;
}

/** What an adapter does to a forward pass; every hook that is absent leaves things as they are. */
export interface AdapterHooks {
  /** A tensor to use in place of the weight of this name, `[C, …shape]`. */
  weight?(name: string): Value | undefined;
  /** Embeddings `[C, n, D]` of the virtual tokens: ids from V upwards. */
  virtualEmbeddings?(): Value;
  /** What goes into a linear module, given what would: `[C, N, inFeatures]`. Undefined: unchanged. */
  linearInput?(path: string, x: Value): Value | undefined;
  /** The output of a linear module `[C, N, outFeatures]`, its bias included. Undefined: unchanged. */
  linearOutput?(site: Site): Value | undefined;
  /** Keys and values that stand before every example's own, `[C, K, n, E]` each. */
  prefix?(layer: number): LayerCache;
  /** The output of a sublayer (`attention` or `feed_forward` of a layer) before it is added to the residual stream, `[C, N, D]`. */
  sublayer?(layer: number, kind: SublayerKind, x: Value): Value;
}

export type SublayerKind = "attention" | "feed_forward";
