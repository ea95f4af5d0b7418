/** The graph that gives losses of single tokens in texts laid end to end, each going on from the same earlier text. */
import { GraphBuilder } from "../../engine/graph/builder.ts";
import type { Graph } from "../../engine/graph/types.ts";
import type { Value } from "../../engine/graph/value.ts";
import { selectRows } from "../../engine/passes/select-rows.ts";
import { ForwardPass } from "../architectures/forward-pass.ts";
import { rangeSight } from "../architectures/range-sight.ts";
import * as g from "../../engine/graph/operations.ts";
import { finishForward } from "./compute-precision.ts";
import { attachAdapter, labelledLoss, passModel, pastInputs, type AdaptedModel } from "./graphs.ts";

/**
 * Inputs: ids, positions, numbers int32 `[1, 1, T]`; key_positions, key_first, key_last int32 `[1, S]` with S = P + T, the
 * earlier text's first (see `rangeSight`); past_key_i, past_value_i `[1, K, P, E]`; labelled_rows, targets int32 `[1, L]`;
 * parameters `[1, P']` and frozen tensors where there is an adapter. Output nll `[1, L]`.
 */
export function scoreGraph(adapted: AdaptedModel, maxLabelledRows: number): Graph {
  const { model, adapter } = adapted;
  const builder = new GraphBuilder();
  const byToken = (name: string): Value => builder.input(name, "int32", [1, 1, "T"]);
  const byKey = (name: string): Value => builder.input(name, "int32", [1, "S"]);
  const [ids, positions, numbers] = [byToken("ids"), byToken("positions"), byToken("numbers")];
  const [keyPositions, first, last] = [byKey("key_positions"), byKey("key_first"), byKey("key_last")];
  const labelledRows = builder.input("labelled_rows", "int32", [1, "L"]);
  const targets = builder.input("targets", "int32", [1, "L"]);
  const attached = adapter === undefined ? undefined : attachAdapter(builder, adapter, { clients: 1, training: false, dropout: (_path, x) => x });
  const past = pastInputs(builder, model, 1);
  const flat = (x: Value): Value => g.reshape(x, [1, "T"]);
  const sight = rangeSight({ numbers: flat(numbers), queryPositions: flat(positions), first, last, keyPositions });
  const pass = new ForwardPass(builder, passModel(adapted), { ids, positions, sight, past, keys: "S" }, attached?.hooks ?? {});
  builder.output("nll", labelledLoss(adapted, pass, { hidden: selectRows(builder, model.forward(pass), labelledRows), targets, maxLabelledRows }));
  return finishForward(builder, adapted.half);
}
