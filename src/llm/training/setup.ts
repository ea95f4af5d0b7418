/** What it takes to make a trainer: plain data that can be sent to a worker. */
import type { AdapterSettings } from "../adapters/settings.ts";
import type { HeldPrecision } from "../architectures/quantized-weights.ts";
import type { ComputeDType } from "../../core/base/tensor.ts";
import type { Device } from "../../engine/graph/onnx/emitter.ts";
import type { EncodedDataset } from "../data/types.ts";
import type { TrainingSettings } from "./settings.ts";

/** Automatic choices already resolved: a trainer decides nothing by itself. */
export interface ResolvedRuntime {
  readonly device: Device;
  readonly threads: number;
  /** How the base is held; adapters, moments and loss are float32. */
  readonly basePrecision: HeldPrecision;
  /** Paths of linear modules that a rounded base holds in float32; absent: none. */
  readonly float32Modules?: readonly string[];
  /** Dtype of the base that is not rounded, of activations and of products with the base. */
  readonly compute: ComputeDType;
  readonly clientsSideBySide: number;
  readonly tokensPerMicroBatch: number;
  /** Passes of a step that run at the same time, each on its share of the threads; absent: 1. The result does not depend on it. */
  readonly dataParallel?: number;
  /** Most memory for the values of all training passes that run at the same time: what does not fit is recomputed. Absent: all is kept. */
  readonly activationBytes?: number;
}

export interface TrainerSetup {
  /** Folder with config.json, *.safetensors and tokenizer.json. */
  readonly modelFolder: string;
  /** Absent: the base alone, which cannot be trained. */
  readonly adapter?: AdapterSettings;
  /** Whether nothing will be trained: then an encoder is not needed, only what it has given. */
  readonly inferenceOnly?: boolean;
  readonly training: TrainingSettings;
  readonly runtime: ResolvedRuntime;
  readonly data: EncodedDataset;
  /** Longest row of tokens that a pack may have. */
  readonly packTokens: number;
  readonly seed: number;
}

/** A data set without examples, for trainers that only generate. */
export const NO_EXAMPLES: EncodedDataset = { ids: new Int32Array(new SharedArrayBuffer(0)), labels: new Int32Array(new SharedArrayBuffer(0)), offsets: new Int32Array(new SharedArrayBuffer(4)) };
