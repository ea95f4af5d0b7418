/** The messages between a trainer and the worker thread that does its work. */
import type { ErrorCode } from "../../core/base/errors.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import type { AdapterFolderTensors } from "../adapters/adapter-folder.ts";
import type { TrainerSetup } from "./setup.ts";
import type { EvaluateJob, EvaluateResult, GenerateJob, GrowJob, GrownText, ScoreJob, ScoreResult, StepReport, TrainJob, TrainResult } from "./types.ts";

export interface WorkerData {
  readonly setup: TrainerSetup;
  /** One int32: not 0 once the running call is to stop. */
  readonly stop: Int32Array<SharedArrayBuffer>;
}

/** What can be asked of the worker, by name: arguments and answer. */
export interface WorkerCalls {
  readonly initialAdapter: { readonly input: undefined; readonly output: NamedTensors<"float32"> };
  readonly savedAdapter: { readonly input: NamedTensors<"float32">; readonly output: AdapterFolderTensors };
  readonly train: { readonly input: readonly TrainJob[]; readonly output: readonly TrainResult[] };
  readonly evaluate: { readonly input: readonly EvaluateJob[]; readonly output: readonly EvaluateResult[] };
  readonly score: { readonly input: ScoreJob; readonly output: readonly ScoreResult[] };
  readonly generate: { readonly input: GenerateJob; readonly output: readonly Int32Array[] };
  readonly grow: { readonly input: GrowJob; readonly output: readonly GrownText[] };
  readonly close: { readonly input: undefined; readonly output: undefined };
}
export type CallName = keyof WorkerCalls;

export type WorkerRequest = { readonly [K in CallName]: { readonly id: number; readonly name: K; readonly input: WorkerCalls[K]["input"] } }[CallName];

/** An error as data, so that a FedtuneError stays one across threads. */
export interface ErrorData {
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: ErrorCode | undefined;
  readonly details: Readonly<Record<string, unknown>>;
}

export type WorkerReply =
  | { readonly kind: "ready" }
  | { readonly kind: "step"; readonly id: number; readonly report: StepReport }
  | { readonly kind: "scored"; readonly id: number; readonly done: number }
  | { readonly kind: "token"; readonly id: number; readonly row: number; readonly token: number }
  | { readonly kind: "result"; readonly id: number; readonly output: unknown }
  | { readonly kind: "error"; readonly id: number; readonly error: ErrorData };
