/** What an architecture tells the rest: its modules, its sizes and its forward pass. */
import type { Checkpoint } from "../../core/formats/checkpoint.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { ForwardPass } from "./forward-pass.ts";
import type { BaseTensor, LinearModule } from "./sites.ts";

/** Ends of module paths that adapters take where their settings name none: for an architecture that PEFT knows, its tables' (`peft/utils/constants.py`). */
export interface DefaultTargets {
  /** What low-rank methods change: the attention's query and value projections, or the one they are joined in. */
  readonly lowRank: readonly string[];
  /** What (IA)³ rescales: projections of the attention by their outputs, and those in `feedForward` by their inputs. */
  readonly rescaled: readonly string[];
  /** Those of `rescaled` that end a feed-forward. */
  readonly feedForward: readonly string[];
}

/** A model of some architecture, described by its config alone. */
export interface ArchitectureModel {
  readonly modelType: string;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** Width of the token embeddings: `hiddenSize` in nearly every model. */
  readonly embeddingSize: number;
  /** The embeddings of tokens are multiplied by it as they are looked up (Gemma: √D), those of virtual tokens are not; absent: 1. */
  readonly embeddingScale?: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headWidth: number;
  /** Longest sequence that the config promises. */
  readonly maxPositions: number;
  readonly tensors: readonly BaseTensor[];
  readonly linears: readonly LinearModule[];
  /** Weights that share another's tensor, by name. */
  readonly tied: ReadonlyMap<string, string>;
  readonly defaultTargets: DefaultTargets;
  /** Name of the token embedding `[V, embeddingSize]`. */
  readonly embedding: string;
  /** The output embedding: its module path, and the soft cap of its logits (0: none). */
  readonly head: { readonly path: string; readonly softCap: number };
  /** What some checkpoints leave out in front of every tensor's name (`transformer.`). */
  readonly checkpointPrefix: string;
  /** What checkpoints may call a tensor instead, by its name here. */
  readonly checkpointNames?: ReadonlyMap<string, string>;
  /** `[C, N, D]` after the final norm, N = B · T. */
  forward(pass: ForwardPass): Value;
}

/** One architecture, named as `model_type` in config.json. */
export interface Architecture {
  /** Reads config.json. Throws FedtuneError("model") that names a field it cannot honour. */
  open(config: Readonly<Record<string, unknown>>, where: string): ArchitectureModel;
}

/** What decides how a checkpoint may name its tensors. */
export type CheckpointNaming = Pick<ArchitectureModel, "checkpointPrefix" | "checkpointNames">;

/** The name that a tensor has in a checkpoint: some leave out the prefix of the whole model, or use another name. */
export function checkpointName(checkpoint: Pick<Checkpoint, "has">, { checkpointPrefix, checkpointNames }: CheckpointNaming, name: string): string {
  const short = name.startsWith(checkpointPrefix) ? name.slice(checkpointPrefix.length) : name;
  return [name, checkpointNames?.get(name) ?? name, short].find((n) => checkpoint.has(n)) ?? name;
}

/** The names in the model that a checkpoint may mean by a name. */
export function modelNames({ checkpointPrefix, checkpointNames }: CheckpointNaming, name: string): readonly string[] {
  return [name, checkpointPrefix + name, ...[...(checkpointNames ?? [])].flatMap(([own, other]) => (other === name ? [own] : []))];
}
