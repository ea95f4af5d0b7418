import { expect, test } from "vitest";
import { drawTensor } from "../../../test/support/tensors.ts";
import { tensor } from "../../core/base/tensor.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { matMul, mul } from "../graph/operations.ts";
import type { Graph } from "../graph/types.ts";
import { openSession } from "./onnx-session.ts";
import { openReplica } from "./replica.ts";

function square(): Graph {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", ["T", 8]);
  builder.output("y", mul(matMul(x, x, { transB: true }), 2));
  return builder.finish();
}

test("gives the bytes of a session, run by run, also of those that are asked for at once", async () => {
  using session = await openSession(square(), { threads: 2 });
  await using replica = await openReplica(square(), { threads: 1 });
  const feeds = [3, 1, 40].map((rows, i) => ({ x: drawTensor(`x${i}`, [rows, 8]) }));
  const answers = await Promise.all(feeds.map((fed) => replica.run(fed)));
  for (const [i, fed] of feeds.entries()) expect(answers[i]).toEqual(await session.run(fed));
});

test("says what a run failed of, and goes on", async () => {
  await using replica = await openReplica(square(), { threads: 1 });
  await expect(replica.run({ x: drawTensor("narrow", [2, 7]) })).rejects.toThrow("replica of a session: expected a run without faults");
  await expect(replica.run({ x: tensor("float16", [1, 8], new Uint16Array(8)) })).rejects.toThrow("input x: float16 cannot be fed");
  expect((await replica.run({ x: drawTensor("x", [2, 8]) }))["y"]?.shape).toEqual([2, 2]);
});

test("closes after the runs it was asked for, once, and takes no more", async () => {
  const replica = await openReplica(square(), { threads: 1 });
  const last = replica.run({ x: drawTensor("x", [64, 8]) });
  await Promise.all([replica[Symbol.asyncDispose](), replica[Symbol.asyncDispose]()]);
  expect((await last)["y"]?.shape).toEqual([64, 64]);
  expect(() => replica.run({ x: drawTensor("x", [1, 8]) })).toThrow("expected an open one, got one that was closed");
});

test("a model that onnxruntime refuses is an error here, and its thread ends", async () => {
  const builder = new GraphBuilder();
  builder.output("y", mul(builder.input("x", "float32", [2]), builder.weight("w", "float32", [2])));
  const nowhere = { folder: import.meta.dirname, locate: () => ({ file: "no such file", offset: 0, length: 8 }) };
  await expect(openReplica(builder.finish(), { threads: 1, weights: nowhere })).rejects.toThrow("no such file");
});
