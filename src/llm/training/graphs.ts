/**
 * The graphs of training: loss and gradients of C clients side by side, loss alone, generation with a cache, and what an
 * adapter's encoder and prefix give.
 */
import { must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import { GraphBuilder } from "../../engine/graph/builder.ts";
import { multiplyDims } from "../../engine/graph/dims.ts";
import type { Dim } from "../../engine/graph/dims.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Graph } from "../../engine/graph/types.ts";
import type { Value } from "../../engine/graph/value.ts";
import { gradient } from "../../engine/passes/gradient.ts";
import type { HalfPrecisionOptions } from "../../engine/passes/half-precision.ts";
import type { Sizes } from "../../engine/passes/memory-model.ts";
import { recompute } from "../../engine/passes/recompute.ts";
import { selectRows } from "../../engine/passes/select-rows.ts";
import { settleCasts } from "../../engine/passes/settle-casts.ts";
import type { AdapterTensors, BoundAdapter, ParameterSpec } from "../adapters/adapter.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { AdapterHooks, LayerCache } from "../architectures/sites.ts";
import { packSight, positionSight } from "../architectures/attention.ts";
import { roundedLoss, widthOfLoss, type RoundedBase } from "../architectures/quantized-weights.ts";
import { ForwardPass, type PassModel } from "../architectures/forward-pass.ts";
import { continueForward, finishForward } from "./compute-precision.ts";
import { flatSize, joinParameters, splitParameters } from "./flat.ts";

/** A model, under an adapter or bare. */
export interface AdaptedModel {
  readonly model: ArchitectureModel;
  readonly adapter: BoundAdapter | undefined;
  /** Which tensors of the prepared base are held rounded; absent: none. */
  readonly rounded?: RoundedBase | undefined;
  /** Whether weights that a product may join lie apart in their files. */
  readonly apart?: boolean | undefined;
  /** How the base and activations are held in half precision; absent: in float32. */
  readonly half?: HalfPrecisionOptions | undefined;
}

/** The model as a forward pass takes it. */
export function passModel({ model, rounded, apart }: AdaptedModel): PassModel {
  return { ...model, rounded, apart };
}

export interface LossGraphOptions {
  /** Clients side by side: 1, or a symbol for any number. */
  readonly clients: Dim;
  /** Most labelled rows of all clients that a run may have: sizes the pieces of the vocabulary product. */
  readonly maxLabelledRows: number;
  /** Blocks of queries that attention is cut into; T must be a multiple. Default: 1. Under a prefix there is but one. */
  readonly attentionBlocks?: number;
  /** Training only: the same result within so much memory, as near as it comes. */
  readonly budget?: ActivationBudget | undefined;
}

/** How much memory a training pass may take for its values, and the largest sizes that a pass has: C, B, T, L and, under a prefix, S. */
export interface ActivationBudget {
  readonly bytes: number;
  /** The same for all passes that run at the same time. How logits are cut goes by it: their number must not change results. */
  readonly allBytes: number;
  readonly sizes: Sizes;
}

/** A dropout mask that a run must be fed: bool `[C, N, width]`. */
export interface MaskInput {
  readonly name: string;
  readonly width: number;
}

/** Bytes of logits that may exist at once. */
const LOGITS_BYTES = 32 << 20;
/** Share of a budget for activations that a piece of logits may take where all of them together would exceed it. */
const LOGITS_SHARE = 1 / 8;
/** Fewer rows than this make the product of a piece slow. */
const MINIMUM_ROWS = 32;

function lossPieces(width: number, maxRows: number, budget: number): { readonly chunks: number; readonly minimumRows: number } {
  const bytes = 4 * width * maxRows > budget ? Math.min(LOGITS_BYTES, budget * LOGITS_SHARE) : LOGITS_BYTES;
  const rows = Math.max(MINIMUM_ROWS, Math.floor(bytes / (4 * width)));
  return { chunks: Math.max(1, Math.ceil(maxRows / rows)), minimumRows: rows };
}

/** Name of the input that carries a frozen tensor of the adapter. */
export const frozenInput = (name: string): string => `frozen ${name}`;

/** The specs of what trains. */
export function trainedSpecs(adapter: BoundAdapter): readonly ParameterSpec[] {
  return adapter.encoder?.specs ?? adapter.parameters;
}

/** Whether parameters are what the encoder gives plus an anchor that a run is fed. */
export function isAnchored(adapter: BoundAdapter): boolean {
  return adapter.encoder?.travels === false;
}

interface AttachedAdapter {
  readonly hooks: AdapterHooks;
  readonly tensors: AdapterTensors;
  /** `[C, P]`: what is differentiated. */
  readonly flat: Value;
}

interface AttachOptions {
  readonly clients: Dim;
  /** Whether the encoder, where there is one, is part of the graph. */
  readonly training: boolean;
  readonly dropout: (path: string, x: Value) => Value;
}

/** An adapter's tensors as inputs of a graph. */
export function attachAdapter(builder: GraphBuilder, adapter: BoundAdapter, { clients, training, dropout }: AttachOptions): AttachedAdapter {
  const encoder = training ? adapter.encoder : undefined;
  const specs = encoder?.specs ?? adapter.parameters;
  const flat = builder.input("parameters", "float32", [clients, flatSize(specs)]);
  let named = splitParameters(flat, specs);
  if (encoder !== undefined) {
    const trained = named;
    named = encoder.encode((name) => must(trained.get(name), name));
    if (isAnchored(adapter)) {
      const anchor = splitParameters(builder.input("anchor", "float32", [clients, flatSize(adapter.parameters)]), adapter.parameters);
      named = new Map([...named].map(([name, value]) => [name, g.add(value, must(anchor.get(name), name))]));
    }
  }
  const frozen = new Map(adapter.frozen.map(({ name, shape }) => [name, builder.input(frozenInput(name), "float32", shape)]));
  const tensors: AdapterTensors = { parameter: (name) => must(named.get(name), name), frozen: (name) => must(frozen.get(name), name), dropout };
  return { hooks: adapter.attach(tensors), tensors, flat };
}

/** The logits `[C, L, V]` of hidden states `[C, L, D]`. */
function logitsOf(pass: ForwardPass, { head }: ArchitectureModel, hidden: Value): Value {
  const logits = pass.linear(head.path, hidden);
  return head.softCap === 0 ? logits : g.mul(g.tanh(g.mul(logits, 1 / head.softCap)), head.softCap);
}

interface LossParts {
  readonly builder: GraphBuilder;
  readonly attached: AttachedAdapter | undefined;
  /** `[C, L]` */
  readonly nll: Value;
  readonly masks: readonly MaskInput[];
}

/** Forward pass over packs to the loss of each labelled row. */
function buildLoss(adapted: AdaptedModel, { clients, maxLabelledRows, attentionBlocks = 1, budget }: LossGraphOptions, training: boolean): LossParts {
  const { model, adapter } = adapted;
  const builder = new GraphBuilder();
  const width = multiplyDims(attentionBlocks, "T");
  const tokens = (name: string): Value => builder.input(name, "int32", [clients, "B", width]);
  const [ids, given, segments] = [tokens("ids"), tokens("positions"), tokens("segments")];
  const labelledRows = builder.input("labelled_rows", "int32", [clients, "L"]);
  const targets = builder.input("targets", "int32", [clients, "L"]);
  const masks: MaskInput[] = [];
  const dropout = (path: string, x: Value): Value => {
    const p = adapter?.dropout ?? 0;
    if (!training || p === 0) return x;
    const name = `mask ${path}`;
    masks.push({ name, width: Number(x.shape[2]) });
    return g.dropout(x, builder.input(name, "bool", x.shape), p);
  };
  const attached = adapter === undefined ? undefined : attachAdapter(builder, adapter, { clients, training, dropout });
  const prefix = adapter?.prefixTokens ?? 0;
  // Its length names the dimension of keys with a prefix; its values are not read.
  if (prefix > 0) builder.input("key_slots", "int32", ["S"]);
  const positions = prefix === 0 ? given : g.add(given, builder.constant(tensor("int32", [], Int32Array.of(prefix))));

  const rows = multiplyDims(clients, "B");
  const sight = packSight(g.reshape(segments, [rows, width]), g.reshape(positions, [rows, width]), prefix === 0 ? attentionBlocks : 1);
  const pass = new ForwardPass(builder, passModel(adapted), { ids, positions, sight, ...(prefix > 0 ? { keys: "S" } : {}) }, attached?.hooks ?? {});
  const hidden = selectRows(builder, model.forward(pass), labelledRows); // [C, L, D]
  return { builder, attached, nll: labelledLoss(adapted, pass, { hidden, targets, maxLabelledRows, budget: budget?.allBytes }), masks };
}

/** The loss `[C, L]` of the hidden states `[C, L, D]` of labelled rows, never all their logits at once. */
export function labelledLoss({ model, adapter, rounded }: AdaptedModel, pass: ForwardPass, rows: { readonly hidden: Value; readonly targets: Value; readonly maxLabelledRows: number; readonly budget?: number | undefined }): Value {
  const { hidden, targets, budget = Infinity } = rows;
  if (adapter?.changesHead === true) return g.crossEntropy(logitsOf(pass, model, hidden), targets);
  const pieces = { ...lossPieces(widthOfLoss(model.vocabSize, rounded), rows.maxLabelledRows, budget), softCap: model.head.softCap };
  return roundedLoss(pass.builder, rounded, { hidden, targets }, pieces) ?? g.linearCrossEntropy(hidden, pass.weight(`${model.head.path}.weight`), targets, pieces);
}

/**
 * One forward and backward pass. Inputs: ids, positions, segments int32 `[C, B, T]`; labelled_rows, targets int32 `[C, L]`;
 * weights float32 `[C, L]`; parameters and accumulated float32 `[C, P]`; what the adapter asks for: anchor `[C, P']`,
 * key_slots int32 `[S]`, frozen tensors, masks bool `[C, N, width]`.
 * Outputs: nll `[C, L]` and accumulated + the gradient of Σ weights · nll, `[C, P]`.
 * Under a budget, what does not fit is made again in the backward pass: the same result in less memory.
 */
export function trainGraph(adapted: AdaptedModel, options: LossGraphOptions): { readonly graph: Graph; readonly masks: readonly MaskInput[] } {
  const forward = buildLoss(adapted, options, true);
  const { tensors, flat: given } = must(forward.attached, "an adapter to train");
  const ownPenalty = adapted.adapter?.penalty?.(tensors); // [C]
  const { builder, value } = continueForward(forward.builder, adapted.half, [forward.nll, ...(ownPenalty === undefined ? [] : [ownPenalty])]);
  const [nll, flat, penalty] = [value(forward.nll.id), value(given.id), ownPenalty === undefined ? undefined : value(ownPenalty.id)];
  const seed = builder.input("weights", "float32", nll.shape);
  const accumulated = builder.input("accumulated", "float32", flat.shape);
  const slope = must(gradient(builder, { value: nll, seed }, [flat])[0], "gradient of the parameters");
  // The optimiser divides by the step's labelled tokens: a penalty on the mean loss weighs as much as the tokens of this pass.
  const regular = penalty === undefined ? undefined : gradient(builder, { value: penalty, seed: g.reshape(g.reduceSum(seed, [1]), penalty.shape) }, [flat])[0];
  builder.output("nll", nll);
  builder.output("accumulated_out", g.add(accumulated, regular === undefined ? slope : g.add(slope, regular)));
  // The seed is the first value after the forward pass.
  const boundary = seed.id;
  const graph = adapted.half === undefined ? builder.finish() : settleCasts(builder.finish(), boundary);
  const { budget } = options;
  return { graph: budget === undefined ? graph : recompute(graph, { boundary, ...budget }).graph, masks: forward.masks };
}

/** The forward pass alone: the inputs of `trainGraph` less weights, accumulated, anchor and masks; parameters only where there is an adapter. Output nll `[C, L]`. */
export function lossGraph(adapted: AdaptedModel, options: LossGraphOptions): Graph {
  const { builder, nll } = buildLoss(adapted, options, false);
  builder.output("nll", nll);
  return finishForward(builder, adapted.half);
}

/** Position of a key that no query may see. */
export const HIDDEN_POSITION = 1 << 30;

/**
 * Generation, by one adapter or C of them, each for B rows (X = C · B). Inputs: ids, positions int32 `[C, B, T]`; key_positions
 * int32 `[X, S]`; past_key_i, past_value_i `[X, K, P, E]`, the adapter's prefix at their beginning; rows int32 `[C, L]`, the
 * positions b · T + t whose logits are wanted; parameters `[C, P']` and frozen tensors where there is an adapter.
 * Outputs: logits `[C, L, V]`, key_i, value_i `[X, K, S, E]` with S = P + T.
 */
export function generateGraph(adapted: AdaptedModel, clients: Dim): Graph {
  const { model, adapter } = adapted;
  const builder = new GraphBuilder();
  const batch = multiplyDims(clients, "B");
  const ids = builder.input("ids", "int32", [clients, "B", "T"]);
  const positions = builder.input("positions", "int32", [clients, "B", "T"]);
  const keyPositions = builder.input("key_positions", "int32", [batch, "S"]);
  const rows = builder.input("rows", "int32", [clients, "L"]);
  const attached = adapter === undefined ? undefined : attachAdapter(builder, adapter, { clients, training: false, dropout: (_path, x) => x });
  const past = pastInputs(builder, model, batch);
  const sight = positionSight(g.reshape(positions, [batch, "T"]), keyPositions);
  const pass = new ForwardPass(builder, passModel(adapted), { ids, positions, sight, past, keys: "S" }, attached?.hooks ?? {});
  const last = selectRows(builder, model.forward(pass), rows); // [C, L, D]
  builder.output("logits", logitsOf(pass, model, last));
  outputCache(builder, pass);
  return finishForward(builder, adapted.half);
}

export interface DecodeGraphOptions {
  readonly clients: Dim;
  /** Rows of each client: 1, or a symbol for any number. */
  readonly rows: Dim;
  /** See `ForwardInputs.oneToken`. */
  readonly weightsFirst: boolean;
}

/**
 * One more token of each row (X = C · B). Inputs: ids, positions int32 `[C, B, 1]`; key_positions int32 `[X, S]` with S = P + 1,
 * the token's own last; past_key_i, past_value_i `[X, K, P, E]`, in which places of a position that nobody sees may be empty;
 * parameters `[C, P']` and frozen tensors where there is an adapter.
 * Outputs: logits `[C, B, V]` and the tokens' own key_i, value_i `[X, K, 1, E]`.
 */
export function decodeGraph(adapted: AdaptedModel, { clients, rows, weightsFirst }: DecodeGraphOptions): Graph {
  const { model, adapter } = adapted;
  const builder = new GraphBuilder();
  const batch = multiplyDims(clients, rows);
  const ids = builder.input("ids", "int32", [clients, rows, 1]);
  const positions = builder.input("positions", "int32", [clients, rows, 1]);
  const keyPositions = builder.input("key_positions", "int32", [batch, "S"]);
  const attached = adapter === undefined ? undefined : attachAdapter(builder, adapter, { clients, training: false, dropout: (_path, x) => x });
  const past = pastInputs(builder, model, batch);
  const sight = positionSight(g.reshape(positions, [batch, 1]), keyPositions);
  const pass = new ForwardPass(builder, passModel(adapted), { ids, positions, sight, past, keys: "S", oneToken: { weightsFirst } }, attached?.hooks ?? {});
  builder.output("logits", logitsOf(pass, model, model.forward(pass)));
  outputCache(builder, pass);
  return finishForward(builder, adapted.half);
}

/** Keys and values of earlier tokens as inputs, past_key_i and past_value_i `[X, K, P, E]`. */
export function pastInputs(builder: GraphBuilder, { layers, keyValueHeads, headWidth }: ArchitectureModel, batch: Dim): readonly LayerCache[] {
  const input = (name: string): Value => builder.input(name, "float32", [batch, keyValueHeads, "P", headWidth]);
  return Array.from({ length: layers }, (_, i): LayerCache => ({ key: input(`past_key_${i}`), value: input(`past_value_${i}`) }));
}

function outputCache(builder: GraphBuilder, { cache }: ForwardPass): void {
  cache.forEach(({ key, value }, i) => {
    builder.output(`key_${i}`, key);
    builder.output(`value_${i}`, value);
  });
}

/** Keys and values of an adapter's prefix. Inputs: parameters `[1, P]`, frozen tensors. Outputs key_i, value_i `[1, K, n, E]`. */
export function prefixGraph(adapter: BoundAdapter, layers: number): Graph {
  const builder = new GraphBuilder();
  const { hooks } = attachAdapter(builder, adapter, { clients: 1, training: false, dropout: (_path, x) => x });
  for (let i = 0; i < layers; i++) {
    const { key, value } = must(hooks.prefix?.(i), "the adapter's prefix");
    builder.output(`key_${i}`, key);
    builder.output(`value_${i}`, value);
  }
  return builder.finish();
}

/** What an encoder makes of its tensors. Input: parameters `[1, P]` of the encoder. Output: encoded `[1, P']`, the adapter's parameters. */
export function encoderGraph(adapter: BoundAdapter): Graph {
  const encoder = must(adapter.encoder, "an encoder");
  const builder = new GraphBuilder();
  const trained = splitParameters(builder.input("parameters", "float32", [1, flatSize(encoder.specs)]), encoder.specs);
  const encoded = encoder.encode((name) => must(trained.get(name), name));
  builder.output("encoded", joinParameters(encoded, adapter.parameters));
  return builder.finish();
}
