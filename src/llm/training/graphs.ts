/** The graphs of training: loss and gradients of C clients side by side, loss alone, and generation with a cache. */
import { must } from "../../core/base/errors.ts";
import { GraphBuilder } from "../../engine/graph/builder.ts";
import { multiplyDims } from "../../engine/graph/dims.ts";
import type { Dim } from "../../engine/graph/dims.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Graph } from "../../engine/graph/types.ts";
import type { Value } from "../../engine/graph/value.ts";
import { gradient } from "../../engine/passes/gradient.ts";
import type { BoundAdapter } from "../adapters/adapter.ts";
import type { Adapt, ArchitectureModel, LayerCache } from "../architectures/architecture.ts";
import { packMask, positionMask } from "../architectures/attention.ts";
import { flatSize, splitParameters } from "./flat.ts";

/** A model under an adapter. */
export interface AdaptedModel {
  readonly model: ArchitectureModel;
  readonly adapter: BoundAdapter;
}

export interface LossGraphOptions {
  /** Clients side by side: 1, or a symbol for any number. */
  readonly clients: Dim;
  /** Most labelled rows of all clients that a run may have: sizes the pieces of the vocabulary product. */
  readonly maxLabelledRows: number;
  /** Whether the adapter's dropout is on. */
  readonly dropout: boolean;
}

/** A dropout mask that a run must be fed: bool `[C, N, width]`. */
export interface MaskInput {
  readonly name: string;
  readonly width: number;
}

/** Bytes of logits that may exist at once. */
const LOGITS_BYTES = 64 << 20;
/** Fewer rows than this make the product of a piece slow. */
const MINIMUM_ROWS = 32;

function lossPieces(vocabSize: number, maxRows: number): { readonly chunks: number; readonly minimumRows: number } {
  const rows = Math.max(MINIMUM_ROWS, Math.floor(LOGITS_BYTES / (4 * vocabSize)));
  return { chunks: Math.max(1, Math.ceil(maxRows / rows)), minimumRows: rows };
}

interface LossParts {
  readonly builder: GraphBuilder;
  /** `[C, P]` */
  readonly parameters: Value;
  /** `[C, L]` */
  readonly nll: Value;
  readonly masks: readonly MaskInput[];
}

/** Forward pass over packs to the loss of each labelled row. */
function buildLoss({ model, adapter }: AdaptedModel, { clients, maxLabelledRows, dropout }: LossGraphOptions): LossParts {
  const builder = new GraphBuilder();
  const tokens = (name: string): Value => builder.input(name, "int32", [clients, "B", "T"]);
  const [ids, positions, segments] = [tokens("ids"), tokens("positions"), tokens("segments")];
  const labelledRows = builder.input("labelled_rows", "int32", [clients, "L"]);
  const targets = builder.input("targets", "int32", [clients, "L"]);
  const parameters = builder.input("parameters", "float32", [clients, flatSize(adapter.parameters)]);
  const named = splitParameters(parameters, adapter.parameters);
  const masks: MaskInput[] = [];
  const dropoutMask = (path: string, like: Value): Value => {
    const name = `mask ${path}`;
    masks.push({ name, width: Number(like.shape[2]) });
    return builder.input(name, "bool", like.shape);
  };
  const adapt: Adapt = (site) => adapter.apply(site, named, dropout ? dropoutMask : undefined);

  const rows = multiplyDims(clients, "B");
  const mask = packMask(g.reshape(segments, [rows, "T"]), g.reshape(positions, [rows, "T"]));
  const { hidden } = model.forward(builder, { ids, positions, mask }, adapt);
  const labelled = g.gatherRows(hidden, labelledRows); // [C, L, D]
  const head = builder.weight(model.head.tensor, "float32", [model.vocabSize, model.hiddenSize]);
  const nll = adapter.adaptsHead
    ? g.crossEntropy(adapt({ path: model.head.path, input: labelled, output: g.matMul(labelled, head, { transB: true }) }), targets)
    : g.linearCrossEntropy(labelled, head, targets, lossPieces(model.vocabSize, maxLabelledRows));
  return { builder, parameters, nll, masks };
}

/**
 * One forward and backward pass. Inputs: ids, positions, segments int32 `[C, B, T]`; labelled_rows, targets int32 `[C, L]`;
 * weights float32 `[C, L]`; parameters and accumulated float32 `[C, P]`; the masks, bool `[C, N, width]`.
 * Outputs: nll `[C, L]` and accumulated + the gradient of Σ weights · nll, `[C, P]`.
 */
export function trainGraph(adapted: AdaptedModel, options: LossGraphOptions): { readonly graph: Graph; readonly masks: readonly MaskInput[] } {
  const { builder, parameters, nll, masks } = buildLoss(adapted, options);
  const seed = builder.input("weights", "float32", nll.shape);
  const accumulated = builder.input("accumulated", "float32", parameters.shape);
  const [slope] = gradient(builder, { value: nll, seed }, [parameters]);
  builder.output("nll", nll);
  builder.output("accumulated_out", g.add(accumulated, must(slope, "gradient of the parameters")));
  return { graph: builder.finish(), masks };
}

/** The forward pass alone: the inputs of `trainGraph` less weights, accumulated and masks; output nll `[C, L]`. */
export function lossGraph(adapted: AdaptedModel, options: Omit<LossGraphOptions, "dropout">): Graph {
  const { builder, nll } = buildLoss(adapted, { ...options, dropout: false });
  builder.output("nll", nll);
  return builder.finish();
}

/** Position of a key that no query may see. */
export const HIDDEN_POSITION = 1 << 30;

/**
 * Generation. Inputs: ids, positions int32 `[1, B, T]`; key_positions int32 `[B, S]`; past_key_i, past_value_i `[B, K, P, E]`;
 * rows int32 `[1, L]`, the positions b · T + t whose logits are wanted; parameters `[1, P']`.
 * Outputs: logits `[1, L, V]`, key_i, value_i `[B, K, S, E]` with S = P + T.
 */
export function generateGraph({ model, adapter }: AdaptedModel): Graph {
  const builder = new GraphBuilder();
  const ids = builder.input("ids", "int32", [1, "B", "T"]);
  const positions = builder.input("positions", "int32", [1, "B", "T"]);
  const keyPositions = builder.input("key_positions", "int32", ["B", "S"]);
  const rows = builder.input("rows", "int32", [1, "L"]);
  const parameters = builder.input("parameters", "float32", [1, flatSize(adapter.parameters)]);
  const named = splitParameters(parameters, adapter.parameters);
  const adapt: Adapt = (site) => adapter.apply(site, named);
  const cacheInput = (name: string): Value => builder.input(name, "float32", ["B", model.keyValueHeads, "P", model.headWidth]);
  const past = Array.from({ length: model.layers }, (_, i): LayerCache => ({ key: cacheInput(`past_key_${i}`), value: cacheInput(`past_value_${i}`) }));
  const mask = positionMask(g.reshape(positions, ["B", "T"]), keyPositions);
  const { hidden, cache } = model.forward(builder, { ids, positions, mask, past, keys: "S" }, adapt);
  const last = g.gatherRows(hidden, rows); // [1, L, D]
  const head = builder.weight(model.head.tensor, "float32", [model.vocabSize, model.hiddenSize]);
  builder.output("logits", adapt({ path: model.head.path, input: last, output: g.matMul(last, head, { transB: true }) }));
  cache.forEach(({ key, value }, i) => {
    builder.output(`key_${i}`, key);
    builder.output(`value_${i}`, value);
  });
  return builder.finish();
}
