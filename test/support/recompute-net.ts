/** A small net that is worth recomputing, for tests of that pass; apart from them so that a process of its own can run it. */
import { must } from "../../src/core/base/errors.ts";
import { normals, randomKey } from "../../src/core/base/random.ts";
import { tensor, type Tensor } from "../../src/core/base/tensor.ts";
import { GraphBuilder } from "../../src/engine/graph/builder.ts";
import * as g from "../../src/engine/graph/operations.ts";
import type { Graph } from "../../src/engine/graph/types.ts";
import { gradient } from "../../src/engine/passes/gradient.ts";
import { recompute } from "../../src/engine/passes/recompute.ts";

const WIDTH = 6;

export interface Net {
  readonly graph: Graph;
  readonly boundary: number;
}

/** Layers of gated attention over `[1, T, 6]` with residuals; the gradient of Σ seed · y with respect to all their matrices. */
export function net(layers: number): Net {
  const builder = new GraphBuilder();
  const start = builder.input("x", "float32", [1, "T", WIDTH]);
  const row = builder.input("row", "float32", [WIDTH]);
  const matrices = Array.from({ length: layers }, (_, i) => builder.input(`w${i}`, "float32", [2 * WIDTH, WIDTH]));
  let x = start;
  for (const w of matrices) {
    const h = g.rmsNorm(x, row, 0.1);
    const [gate = h, up = h] = g.split(g.matMul(h, w, { transB: true }), 2, [WIDTH, WIDTH]);
    const seen = g.matMul(g.softmax(g.matMul(gate, up, { transB: true, alpha: 0.4 })), g.mul(g.silu(gate), up));
    x = g.add(x, g.reshape(g.tanh(g.reshape(seen, ["T", WIDTH])), x.shape));
  }
  const seed = builder.input("seed", "float32", x.shape);
  gradient(builder, { value: x, seed }, matrices).forEach((slope, i) => builder.output(`dw${i}`, must(slope, "slope")));
  builder.output("y", x);
  return { graph: builder.finish(), boundary: seed.id };
}

/** Random feeds. */
export function feedsOf(layers: number, tokens: number): Record<string, Tensor> {
  const draw = (name: string, shape: readonly number[]) => tensor("float32", shape, Float32Array.from(normals(randomKey(3, name), [], shape.reduce((n, d) => n * d, 1))));
  return {
    x: draw("x", [1, tokens, WIDTH]), row: draw("row", [WIDTH]), seed: draw("seed", [1, tokens, WIDTH]),
    ...Object.fromEntries(Array.from({ length: layers }, (_, i) => [`w${i}`, draw(`w${i}`, [2 * WIDTH, WIDTH])])),
  };
}

/** The net within a budget at so many tokens. */
export const within = ({ graph, boundary }: Net, bytes: number, tokens: number) => recompute(graph, { boundary, bytes, sizes: new Map([["T", tokens]]) });
