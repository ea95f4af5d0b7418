import { describe, expect, test } from "vitest";
import { z } from "zod";
import { relativeError } from "../../../test/support/numbers.ts";
import { must } from "../../core/base/errors.ts";
import { GraphBuilder } from "../../engine/graph/builder.ts";
import { evaluateReference } from "../../engine/runtime/reference.ts";
import { activate, activationName } from "./activation.ts";
import { parseConfig } from "./config.ts";

const X = [-3.2, -1.1, -0.4, 0.3, 0.9, 2.7];
const gelu = (x: number): number => 0.5 * x * (1 + Math.tanh(0.7978845608 * x * (1 + 0.044715 * x * x)));
// What PyTorch's gelu gives for X.
const EXACT_GELU = [-0.0021988414, -0.1492326670, -0.1378313034, 0.1853734267, 0.7343458872, 2.6906391707];
const FORMULAS: readonly [readonly z.infer<typeof activationName>[], (x: number) => number][] = [
  [["gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh"], gelu],
  [["gelu", "gelu_python"], (x) => EXACT_GELU[X.indexOf(x)] ?? Number.NaN],
  [["quick_gelu"], (x) => x / (1 + Math.exp(-1.702 * x))],
  [["relu"], (x) => Math.max(0, x)],
  [["relu2"], (x) => Math.max(0, x) ** 2],
  [["silu", "swish"], (x) => x / (1 + Math.exp(-x))],
  [["sigmoid"], (x) => 1 / (1 + Math.exp(-x))],
  [["tanh"], Math.tanh],
  [["linear"], (x) => x],
];

describe("activations by Hugging Face's names", () => {
  test.each(FORMULAS)("%j follow their formula", (names, formula) => {
    for (const name of names) {
      const builder = new GraphBuilder();
      builder.output("y", activate(name, builder.input("x", "float32", [X.length])));
      const { data } = must(evaluateReference(builder.finish(), new Map([["x", { dtype: "float32", shape: [X.length], data: Float64Array.from(X) }]])).get("y"), "y");
      expect([name, relativeError(data, X.map(formula)) < 1e-7]).toEqual([name, true]);
    }
  });

  test("are all listed above", () => {
    expect(FORMULAS.flatMap(([names]) => [...names]).sort()).toEqual([...activationName.values].sort());
  });

  test("that fedtune does not have are refused by the config's field", () => {
    const schema = z.looseObject({ hidden_act: activationName });
    expect(() => parseConfig(schema, { hidden_act: "hardswish" }, "config.json")).toThrow(/^config\.json: hidden_act: expected one of "gelu"\|.*, got "hardswish"\./);
    expect(() => parseConfig(schema, { hidden_act: "toString" }, "config.json")).toThrow('got "toString"');
  });
});
