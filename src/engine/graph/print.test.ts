import { describe, expect, test } from "vitest";
import { sha256 } from "../../core/base/hash.ts";
import { bytesOf, tensor } from "../../core/base/tensor.ts";
import { GraphBuilder } from "./builder.ts";
import { add, matMul, mul, sin } from "./operations.ts";
import { hashGraph, printGraph } from "./print.ts";
import type { Graph } from "./types.ts";

interface Variant {
  readonly alpha?: number;
  readonly epsilon?: number;
  readonly rows?: string;
  readonly name?: string;
  readonly constant?: number;
  readonly table?: number;
  readonly idle?: boolean;
}

function build({ alpha = 0.5, epsilon = 1e-5, rows = "T", name = "y", constant = 3, table = 7, idle = false }: Variant = {}): Graph {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", [rows, 5]);
  if (idle) sin(mul(x, 11));
  const [y = x, r = x] = builder.emit("RmsNorm", [matMul(x, builder.weight("w", "float32", [3, 5]), { transB: true, alpha }), builder.weight("n", "float32", [3])], { epsilon });
  const long = builder.constant(tensor("float32", [3, 3], new Float32Array(9).fill(table)));
  builder.output(name, add(matMul(mul(y, constant), long), r));
  return builder.finish();
}

describe("a printed graph", () => {
  test("reads line by line, with types and attributes", () => {
    expect(printGraph(build())).toBe([
      "%0 = input x: float32[T, 5]",
      "%1 = weight w: float32[3, 5]",
      "%2 = weight n: float32[3]",
      `%3 = constant float32[3, 3] ${sha256(bytesOf(new Float32Array(9).fill(7))).slice(0, 16)}`,
      "%4 = constant float32[] 3",
      "%5 = MatMul(%0, %1) transA=false transB=true alpha=0.5: float32[T, 3]",
      "%6, %7 = RmsNorm(%5, %2) epsilon=0.00001: float32[T, 3], float32[T, 1]",
      "%8 = Mul(%6, %4): float32[T, 3]",
      "%9 = MatMul(%8, %3) transA=false transB=false alpha=1: float32[T, 3]",
      "%10 = Add(%9, %7): float32[T, 3]",
      "output y = %10",
    ].join("\n"));
  });

  test("is the same for equal graphs, also where one was built with nodes that nothing needs", () => {
    expect(printGraph(build())).toBe(printGraph(build()));
    expect(hashGraph(build({ idle: true }))).toBe(hashGraph(build()));
    expect(hashGraph(build())).toMatch(/^[0-9a-f]{64}$/);
  });

  test("differs with an attribute, a shape, a name, a short and a long constant", () => {
    const variants: Variant[] = [{}, { alpha: 0.25 }, { epsilon: 1e-6 }, { rows: "B" }, { name: "z" }, { constant: 5 }, { table: 2 }];
    expect(new Set(variants.map((v) => hashGraph(build(v)))).size).toBe(variants.length);
  });

  test("tells an output that is shared from one that is made twice", () => {
    const twice = (f: (x: ReturnType<GraphBuilder["input"]>) => [typeof x, typeof x]): string => {
      const builder = new GraphBuilder();
      const [a, b] = f(builder.input("x", "float32", [2]));
      builder.output("a", a);
      builder.output("b", b);
      return hashGraph(builder.finish());
    };
    expect(twice((x) => [sin(x), sin(x)])).not.toBe(twice((x) => [sin(x), sin(sin(x))]));
  });
});
