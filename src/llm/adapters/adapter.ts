/** What an adapter method tells the rest: its tensors, what they do at a site, and how PEFT writes its settings. */
import type { FactorPair } from "../../core/base/factor-pair.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { Site } from "../architectures/architecture.ts";

/** A trainable tensor, by the name that PEFT saves it under. */
export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** How it starts: zeros, or uniform in (−bound, bound). */
  readonly start: { readonly kind: "zeros" } | { readonly kind: "uniform"; readonly bound: number };
}

/** An adapter bound to a model's modules. */
export interface BoundAdapter {
  readonly parameters: readonly ParameterSpec[];
  /** Tensors whose product is what the model sees: what strategies need to know of an adapter. */
  readonly factorPairs: readonly FactorPair[];
  /** Weights of the base that PEFT saves along with the adapter (those of an adapted embedding); they are not trained. */
  readonly baseCopies: readonly { readonly name: string; readonly shape: readonly number[] }[];
  /** Whether the output embedding is adapted, so that logits cannot be skipped. */
  readonly adaptsHead: boolean;
  /**
   * The output of a site under the adapter.
   * @param parameters each `[C, …shape]`, by name
   * @param dropoutMask asks for a bool mask `[C, N, D]` of a site's input; absent where nothing is dropped
   */
  apply(site: Site, parameters: ReadonlyMap<string, Value>, dropoutMask?: (path: string, like: Value) => Value): Value;
  /** The change of a linear module's weight `[out, in]` that the adapter stands for; undefined where it has none. */
  weightChange(path: string, values: (name: string) => Float32Array): Float64Array | undefined;
}
