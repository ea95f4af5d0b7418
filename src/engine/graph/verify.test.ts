import { describe, expect, test } from "vitest";
import { tensor } from "../../core/base/tensor.ts";
import { GraphBuilder } from "./builder.ts";
import { add, matMul, split } from "./operations.ts";
import type { Graph, Node } from "./types.ts";
import { verifyGraph } from "./verify.ts";

/** y = x w + 3 and the pieces of it: x is 0, w is 1, the product 2, the constant 3, the sum 4, the pieces 5 and 6. */
function sound(): Graph {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", ["T", 3]);
  const sum = add(matMul(x, builder.weight("w", "float32", [3, 5])), 3);
  const [left = sum, right = sum] = split(sum, 1, [2, 3]);
  builder.output("left", left);
  builder.output("right", right);
  return builder.finish();
}

function withNode(index: number, change: (node: Node) => object): Graph {
  const graph = sound();
  const nodes = graph.nodes.map((node, i) => (i === index ? { ...node, ...change(node) } : node));
  return { ...graph, nodes };
}

function withValue(id: number, shape: readonly (number | string)[]): Graph {
  const graph = sound();
  return { ...graph, values: graph.values.map((type, i) => (i === id ? { ...type, shape } : type)) };
}

describe("the verifier", () => {
  test("accepts what the builder makes", () => {
    expect(() => verifyGraph(sound())).not.toThrow();
  });

  test.each<[string, Graph, string]>([
    ["a node that reads a later value", { ...sound(), nodes: sound().nodes.toReversed() }, "graph: node 0 (Split) reads value 4 before it is assigned"],
    ["a node that reads a value that does not exist", withNode(1, () => ({ inputs: [2, 99] })), "graph: node 1 (Add) reads value 99 before it is assigned"],
    ["a node that reads its own output", withNode(1, () => ({ inputs: [4, 3] })), "graph: node 1 (Add) reads value 4 before it is assigned"],
    ["a value assigned twice", withNode(1, () => ({ inputs: [2, 2], outputs: [2] })), "graph: node 1 (Add) assigns value 2 a second time"],
    ["an output that does not exist", withNode(1, () => ({ outputs: [99] })), "graph: node 1 (Add): expected output 0 to be float32[T, 5], got nothing"],
    ["a wrong shape", withValue(4, ["T", 7]), "graph: node 1 (Add): expected output 0 to be float32[T, 5], got float32[T, 7]"],
    ["inputs that do not fit", withNode(0, () => ({ inputs: [1, 0] })), "graph: node 0 (MatMul): MatMul: expected columns of the first equal to rows of the second, got float32[3, 5] and float32[T, 3]"],
    ["one input too few", withNode(1, () => ({ inputs: [2] })), "graph: node 1 (Add): Add: expected two inputs, got float32[T, 5]"],
    ["an attribute that does not fit", withNode(2, () => ({ attributes: { axis: 1, sizes: [2, 2] } })), "graph: node 2 (Split): Split: expected axis 1 of length 2 + 2, got float32[T, 5]"],
    ["one output too many", withNode(0, (n) => ({ outputs: [...n.outputs, 5] })), "graph: node 0 (MatMul): expected 1 outputs, got 2"],
    ["one output too few", withNode(2, () => ({ outputs: [5] })), "graph: node 2 (Split): expected output 1 to be float32[T, 3], got nothing"],
    ["a result that nothing assigns", { ...sound(), outputs: [{ name: "left", id: 99 }] }, "graph: output left is value 99, which nothing assigns"],
    ["an input that does not exist", { ...sound(), inputs: [{ name: "x", id: 99 }] }, "graph: input x is value 99, which does not exist"],
    ["an input and a weight of one value", { ...sound(), weights: [{ name: "w", id: 0 }] }, "graph: weight w assigns value 0 a second time"],
    ["a constant of another shape", { ...sound(), constants: [{ id: 3, tensor: tensor("float32", [2], Float32Array.of(3, 5)) }] }, "graph: constant 3: expected float32[], got float32[2]"],
    ["a constant of another dtype", { ...sound(), constants: [{ id: 3, tensor: tensor("int32", [], Int32Array.of(3)) }] }, "graph: constant 3: expected float32[], got int32[]"],
  ])("refuses %s", (_what, graph, message) => {
    expect(() => verifyGraph(graph)).toThrow(message);
  });
});
