/** What an adapter method tells the rest: its settings, its tensors, what they do to a forward pass, and how PEFT writes it. */
import { z } from "zod";
import type { FactorPair } from "../../core/base/factor-pair.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { AdapterHooks } from "../architectures/sites.ts";
import type { PeftFields } from "./peft-config.ts";

/** What a tensor may start from. */
export interface StartSources {
  /** Draws that depend on the seed and the tensor's name alone: uniform in [0, 1), or standard normal. */
  readonly uniforms: (count: number) => Float64Array;
  readonly normals: (count: number) => Float64Array;
  /** A tensor of the base by name, as the checkpoint holds it. */
  readonly base: (name: string) => Float32Array;
  /** Token ids of a text, without special tokens. */
  readonly tokenize: (text: string) => Int32Array;
}

/** A tensor of an adapter, by the name that PEFT saves it under. */
export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** Whether it stands in the place of a tensor of the base, so that the model has no parameter more. */
  readonly inPlace?: boolean;
  /** Its values before training. */
  readonly start: (from: StartSources) => Float32Array;
}

/** A tensor that the adapter needs and nobody trains: a function of seed and base, equal for all clients. */
export interface FrozenSpec extends ParameterSpec {
  /** Whether it is written with the adapter. */
  readonly saved: boolean;
}

/** An adapter's tensors as values of a graph. */
export interface AdapterTensors {
  /** `[C, …shape]` */
  parameter(name: string): Value;
  /** `[…shape]` */
  frozen(name: string): Value;
  /** The input `[C, N, D]` of a module with the adapter's dropout applied; itself outside of training. */
  dropout(path: string, x: Value): Value;
}

/**
 * What trains in place of the adapter's own parameters, which it computes (prompt encoder, prefix projection). Only the
 * parameters are needed once training is over.
 */
export interface Encoder {
  readonly specs: readonly ParameterSpec[];
  /** Whether the encoder is what clients exchange; else it stays with each client and the parameters travel. */
  readonly travels: boolean;
  /** The adapter's parameters by name, `[C, …shape]` each. */
  encode(tensor: (name: string) => Value): ReadonlyMap<string, Value>;
}

/** Changes one tensor of a checkpoint so that it needs no adapter. */
export interface MergeInput {
  /** Name of the tensor, and its shape in the checkpoint. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly base: Float32Array;
  /** A tensor of the adapter: parameter or frozen. */
  readonly values: (name: string) => Float32Array;
}
/** The merged tensor; undefined where the adapter leaves it alone. */
export type MergeRule = (input: MergeInput) => Float64Array | Float32Array | undefined;

/** What an adapter does between two optimiser steps, by host code: pure functions of what it is given (AdaLoRA's rank allocation). */
export interface StepControl {
  /** Tensors kept from step to step, by name; they start at zero. */
  readonly state: readonly { readonly name: string; readonly shape: readonly number[] }[];
  /** Changes `parameters` and `state` in place. `step` counts the steps that have been taken, this one included. */
  afterStep(input: {
    readonly step: number;
    readonly totalSteps: number;
    readonly parameter: (name: string) => Float32Array;
    /** The parameter as it was before the step. */
    readonly before: (name: string) => Float32Array;
    /** Gradient of the step's mean loss. */
    readonly gradient: (name: string) => Float32Array;
    readonly state: (name: string) => Float32Array;
  }): void;
}

/** An adapter bound to a model's modules. */
export interface BoundAdapter {
  /** What inference needs, and what trains unless there is an encoder. */
  readonly parameters: readonly ParameterSpec[];
  readonly frozen: readonly FrozenSpec[];
  readonly encoder?: Encoder;
  /** Virtual tokens in front of every example: ids from V upwards. */
  readonly virtualTokens: number;
  /** Keys and values in front of every example's own. */
  readonly prefixTokens: number;
  /** Probability of dropout in training; 0: none. */
  readonly dropout: number;
  /** Whether the output embedding is changed, so that its logits must be made whole. */
  readonly changesHead: boolean;
  /** Whether an output embedding that is tied to the input embedding changes only as that does, and stays tied when merged. */
  readonly keepsTies?: boolean;
  /** Tensors whose product is what the model sees: what strategies need to know of an adapter. */
  readonly factorPairs: readonly FactorPair[];
  /** Tensors that PEFT may save along with the adapter and that are the base's own; they are not read. */
  readonly baseCopies: readonly { readonly name: string; readonly shape: readonly number[] }[];
  attach(tensors: AdapterTensors): AdapterHooks;
  /** A term `[C]` that is added to each client's mean loss. */
  penalty?(tensors: AdapterTensors): Value;
  readonly control?: StepControl;
  /** How it is folded into the base, or why it cannot be. */
  readonly merge: MergeRule | { readonly none: string };
  /** How a merged weight becomes the base's again, or what the merged weights hold in its place; absent: it does not. */
  readonly unmerge?: MergeRule | { readonly none: string };
}

/** How a method's settings stand in adapter_config.json. */
export interface PeftFormat<S> {
  /** `peft_type`. */
  readonly type: string;
  /** Every field but those that all methods share. `baseModel` is the base's name. */
  write(settings: S, model: ArchitectureModel, baseModel: string): Readonly<Record<string, unknown>>;
  /** The settings, or undefined where the file means another method of the same type. Throws FedtuneError("model") that names a field. */
  read(fields: PeftFields): S | undefined;
  /** Settings and tensors as PEFT is to see them where they differ from those that train. */
  convert?(settings: S, tensors: NamedTensors<"float32">, frozen: NamedTensors<"float32">): { readonly settings: S; readonly tensors: NamedTensors<"float32"> };
}

/** Fields that every method's settings have. */
export const commonFields = {
  init_from: z.string().optional().describe("folder of an adapter to start from"),
};

/** One adapter in a weighted sum. */
export interface SummedPart<S> {
  readonly settings: S;
  readonly adapter: BoundAdapter;
  readonly tensors: NamedTensors<"float32">;
  readonly weight: number;
}

/** An adapter method: one file, one line in the record of methods. */
export interface AdapterMethod<S> {
  /** Settings, with PEFT's names and meaning. */
  readonly schema: z.ZodType<S>;
  /** Throws FedtuneError("config") where the settings do not fit the model. */
  bind(settings: S, model: ArchitectureModel): BoundAdapter;
  readonly peft: PeftFormat<S>;
  /** The weighted sum of adapters in PEFT's form as one adapter, where that is more than a sum of tensors. Throws FedtuneError("config"). */
  readonly sum?: (parts: readonly SummedPart<S>[]) => { readonly settings: S; readonly parameters: NamedTensors<"float32">; readonly frozen: NamedTensors<"float32"> };
}
