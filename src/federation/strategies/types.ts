/** What a strategy is: pure functions on named tensors. Who the clients are and how tensors travel is left to others. */
import type { NamedTensors } from "../../core/base/tensor.ts";

/** One client's update, at hand or still to be read. */
export interface UpdateHandle {
  readonly client: number;
  /** Share in the average: positive, all shares of a round sum to 1. */
  readonly share: number;
  /** The tensors that the client sent. */
  load(): NamedTensors<"float32">;
}

export interface AggregateInput {
  readonly round: number;
  /** The adapter that the round started from. */
  readonly global: NamedTensors<"float32">;
  /** In ascending order of client, at least one; names and shapes are those of the payload of `global`. */
  readonly updates: readonly UpdateHandle[];
}

/** How a federation learns. A module of one's own exports an object of this shape as its default. */
export interface Strategy {
  readonly name: string;
  /** Which of the adapter's tensors a client learns in a round. */
  trainable(round: number, client: number, names: readonly string[]): readonly string[];
  /** What leaves a client: some or all of its trained tensors. Tensors that stay behind keep their value in the next adapter. */
  payload(trained: NamedTensors<"float32">): NamedTensors<"float32">;
  /**
   * Whether a NaN or infinity in any update makes the next adapter not finite, as in every weighted sum. Then updates are looked
   * through only where that happens; otherwise each is before it is used. Default: false.
   */
  readonly passesNonFiniteOn?: boolean;
  /** The tensors of the next adapter, for the payload's names. Must not change what it is given. */
  aggregate(input: AggregateInput): NamedTensors<"float32">;
}
