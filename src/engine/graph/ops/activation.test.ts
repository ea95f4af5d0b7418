/** What central differences and drawn numbers cannot show of activations: kinks, known values, tails, few passes. */
import { expect, test } from "vitest";
import { relativeError } from "../../../../test/support/numbers.ts";
import { must } from "../../../core/base/errors.ts";
import { tensor } from "../../../core/base/tensor.ts";
import { gradient } from "../../passes/gradient.ts";
import { openSession } from "../../runtime/onnx-session.ts";
import { evaluateReference, toReference } from "../../runtime/reference.ts";
import { GraphBuilder } from "../builder.ts";
import * as g from "../operations.ts";
import type { Graph } from "../types.ts";
import type { Value } from "../value.ts";

/** y and dy/dx of an elementwise function of n numbers. */
function curve(f: (x: Value) => Value, n: number): Graph {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", [n]);
  const y = f(x);
  builder.output("y", y);
  builder.output("dx", must(gradient(builder, { value: y, seed: g.expand(g.reshape(builder.scalar(1), [1]), [n]) }, [x])[0], "dx"));
  return builder.finish();
}

function reference(f: (x: Value) => Value, xs: readonly number[], name: "y" | "dx"): readonly number[] {
  const values = evaluateReference(curve(f, xs.length), new Map([["x", { dtype: "float32", shape: [xs.length], data: Float64Array.from(xs) }]]));
  return [...must(values.get(name), name).data];
}

test("relu's slope is 0 at 0, as in PyTorch, and NaN stays NaN", () => {
  expect(reference(g.relu, [-2, 0, 3], "dx")).toEqual([0, 0, 1]);
  expect(reference(g.relu, [Number.NaN], "y")).toEqual([Number.NaN]);
});

// Values of the error function: NIST Digital Library of Mathematical Functions, table 7.23.
test("the reference of erf has the tabulated values, odd about 0, to 1e-14", () => {
  const table: readonly (readonly [number, number])[] = [[0.1, 0.1124629160182849], [0.5, 0.5204998778130465], [1, 0.8427007929497149], [2, 0.9953222650189527], [3, 0.9999779095030014], [5, 0.9999999999984626], [6, 1]];
  const [xs, expected] = [table.map(([x]) => x), table.map(([, y]) => y)];
  expect(relativeError(reference(g.erf, xs, "y"), expected)).toBeLessThan(1e-14);
  expect(reference(g.erf, xs.map((x) => -x), "y")).toEqual(reference(g.erf, xs, "y").map((y) => -y));
  expect(reference(g.erf, [Number.NaN, 0, 40, -Infinity], "y")).toEqual([Number.NaN, 0, 1, -1]);
});

test("gelu and its approximation differ as in the paper: at most 5e-4, and not at 0", () => {
  const xs = Array.from({ length: 81 }, (_, i) => (i - 40) / 10);
  const [exact, approximate] = [reference((x) => g.gelu(x, "none"), xs, "y"), reference((x) => g.gelu(x, "tanh"), xs, "y")];
  const worst = Math.max(...xs.map((_, i) => Math.abs((exact[i] ?? 0) - (approximate[i] ?? 0))));
  expect(worst).toBeGreaterThan(4e-4);
  expect(worst).toBeLessThan(5e-4);
  expect([exact[40], approximate[40]]).toEqual([0, 0]);
});

test.each(["none", "tanh"] as const)("gelu (%s) and its slope stay within float32 of the reference over both tails, far out too", async (approximate) => {
  const xs = Float32Array.from({ length: 4001 }, (_, i) => (i - 2000) / 160);
  const graph = curve((x) => g.gelu(x, approximate), xs.length + 2);
  const feed = tensor("float32", [xs.length + 2], Float32Array.of(...xs, -1e4, 1e4));
  using session = await openSession(graph, { threads: 1 });
  const actual = await session.run({ x: feed });
  const expected = evaluateReference(graph, new Map([["x", toReference(feed)]]));
  for (const [name, tolerance] of [["y", 1e-6], ["dx", 5e-6]] as const) {
    const [a, e] = [must(actual[name], name).data, must(expected.get(name), name).data];
    const errors = Array.from(e, (y, i) => Math.abs(Number(a[i]) - y) / Math.max(1, Math.abs(y)));
    expect(Math.max(...errors)).toBeLessThan(tolerance);
  }
});

test("a number beside int32 is a whole number of that dtype, and a fraction is refused", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "int32", [3]);
  const y = g.max(g.min(g.sub(g.mul(g.add(x, 2), 3), 1), 20), -4);
  expect(y.dtype).toBe("int32");
  builder.output("y", y);
  const feed = toReference(tensor("int32", [3], Int32Array.of(-7, 3, 11)));
  expect(evaluateReference(builder.finish(), new Map([["x", feed]])).get("y")?.data).toEqual(Float64Array.of(-4, 14, 20));
  expect(() => g.add(x, 0.5)).toThrow("expected a whole number beside int32, got 0.5");
  expect(() => g.div(x, 2)).toThrow("Div: expected real numbers, got int32[3] and int32[]");
});
