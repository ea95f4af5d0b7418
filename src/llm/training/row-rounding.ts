/**
 * How much of a model's loss the rounding of rows puts at stake in each linear module: one pass forward and back over a few tokens.
 * A row x is rounded by steps of Δ = max |x| / 127 (Dettmers et al. 2022, section 3.1), so each of its elements is off by a variance
 * of Δ² / 12, and the loss, to first order, by one of Δ² / 12 · |∂loss / ∂x|². Rows with outliers have large steps.
 * What is done about it is left to others.
 */
import { must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import { BYTE_LIMIT } from "../../engine/graph/byte-weights.ts";
import { GraphBuilder } from "../../engine/graph/builder.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import { gradient } from "../../engine/passes/gradient.ts";
import { openSession } from "../../engine/runtime/onnx-session.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import { packSight } from "../architectures/attention.ts";
import { ForwardPass } from "../architectures/forward-pass.ts";
import type { PreparedBase } from "../architectures/prepared-base.ts";
import { labelledLoss, passModel } from "./graphs.ts";

/** Linear modules that take the same rows, and what rounding those does. */
export interface RowRounding {
  readonly paths: readonly string[];
  /** Of the summed loss of all tokens, in nats². */
  readonly variance: number;
}

/** Σ over rows of max |x|² · |slope|²: `[1, 1, 1]` of `[1, N, K]` each. */
function weighted(x: Value, slope: Value): Value {
  const largest = g.reduceMax(g.max(x, g.neg(x)), [2]);
  return g.reduceSum(g.mul(g.mul(largest, largest), g.reduceSum(g.mul(slope, slope), [2])), [1]);
}

/** Texts end to end, each of which begins anew. */
function layOut(texts: readonly Int32Array[]): { readonly ids: Int32Array; readonly positions: Int32Array; readonly segments: Int32Array; readonly labelled: Int32Array } {
  const [ids, positions, segments, labelled]: [number[], number[], number[], number[]] = [[], [], [], []];
  texts.forEach((text, i) => text.forEach((id, p) => {
    if (p < text.length - 1) labelled.push(ids.length);
    ids.push(id);
    positions.push(p);
    segments.push(i + 1);
  }));
  return { ids: Int32Array.from(ids), positions: Int32Array.from(positions), segments: Int32Array.from(segments), labelled: Int32Array.from(labelled) };
}

/** What rounding the rows of each linear module of a base does to the loss of texts, each token predicted from those before it. */
export async function measureRowRounding(base: PreparedBase, model: ArchitectureModel, texts: readonly Int32Array[]): Promise<readonly RowRounding[]> {
  const { ids, positions, segments, labelled } = layOut(texts);
  const [width, count] = [ids.length, labelled.length];
  const builder = new GraphBuilder();
  const whole = (values: Int32Array, shape: readonly number[]): Value => builder.constant(tensor("int32", shape, values));
  const seen = new Map<number, { readonly x: Value; readonly paths: string[] }>();
  const watching = {
    linearInput(path: string, x: Value): undefined {
      const known = seen.get(x.id);
      if (known === undefined) seen.set(x.id, { x, paths: [path] });
      else known.paths.push(path);
    },
  };
  const adapted = { model, adapter: undefined, rounded: base.rounded, apart: base.apart };
  const inputs = { ids: builder.input("ids", "int32", [1, 1, width]), positions: whole(positions, [1, 1, width]), sight: packSight(whole(segments, [1, width]), whole(positions, [1, width]), 1) };
  const pass = new ForwardPass(builder, passModel(adapted), inputs, watching);
  const nll = labelledLoss(adapted, pass, { hidden: g.gatherRows(model.forward(pass), whole(labelled, [1, count])), targets: whole(labelled.map((at) => ids[at + 1] ?? 0), [1, count]), maxLabelledRows: count });
  const rows = [...seen.values()];
  const seed = builder.constant(tensor("float32", [1, count], new Float32Array(count).fill(1)));
  gradient(builder, { value: nll, seed }, rows.map(({ x }) => x)).forEach((slope, i) => {
    const { x, paths } = must(rows[i], "rows");
    // Rows that the loss does not depend on cost it nothing.
    if (slope !== undefined) builder.output(must(paths[0], "path"), weighted(x, slope));
  });
  using session = await openSession(builder.finish(), { threads: 1, weights: base.weights });
  const sums = await session.run({ ids: tensor("int32", [1, 1, width], ids) });
  return rows.map(({ paths }) => ({ paths, variance: Number(sums[paths[0] ?? ""]?.data[0] ?? 0) / (12 * BYTE_LIMIT ** 2) }));
}
