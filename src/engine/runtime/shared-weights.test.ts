import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { drawTensor } from "../../../test/support/tensors.ts";
import { must } from "../../core/base/errors.ts";
import { tensor, type Tensor } from "../../core/base/tensor.ts";
import { readSafetensorsHeader } from "../../core/formats/safetensors.ts";
import { writeSafetensors } from "../../core/formats/safetensors-writer.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { add, cast, matMul, mul } from "../graph/operations.ts";
import type { Graph } from "../graph/types.ts";
import type { WeightFiles } from "../graph/weights.ts";
import { encodeSession, openSession } from "./onnx-session.ts";
import { openReplica } from "./replica.ts";
import { SharedWeights } from "./shared-weights.ts";

let path = "";
beforeAll(() => {
  path = join(mkdtempSync(join(tmpdir(), "fedtune-shared-")), "base.safetensors");
  const half = tensor("float16", [6], Uint16Array.of(0x3c00, 0x4000, 0x4200, 0, 0x3c00, 0x3c00));
  writeSafetensors(path, new Map<string, Tensor>([["w", drawTensor("w", [5, 6])], ["odd", half], ["gain", drawTensor("gain", [6])], ["bias", drawTensor("bias", [6])]]));
});
afterAll(() => rmSync(dirname(path), { recursive: true }));

const files = (): WeightFiles => {
  const { tensors } = readSafetensorsHeader(path);
  return {
    folder: dirname(path),
    locate(name) {
      const { start, end } = must(tensors.get(name), name);
      return { file: basename(path), offset: start, length: end - start };
    },
  };
};

/** y = (x w + cast(odd)) · (gain · bias): a weight of another dtype, and two that are multiplied without anything fed. */
function graph(): Graph {
  const builder = new GraphBuilder();
  const product = matMul(builder.input("x", "float32", ["T", 5]), builder.weight("w", "float32", [5, 6]));
  const shifted = add(product, cast(builder.weight("odd", "float16", [6]), "float32"));
  builder.output("y", mul(shifted, mul(builder.weight("gain", "float32", [6]), builder.weight("bias", "float32", [6]))));
  return builder.finish();
}

test("feeds what can be fed from memory that is shared, and leaves the rest in its file", () => {
  const { weights } = encodeSession(graph(), { threads: 1, weights: files(), shared: new SharedWeights(files()) });
  expect(Object.keys(weights)).toEqual(["w"]);
  expect(weights["w"]).toEqual(drawTensor("w", [5, 6]));
  expect(weights["w"]?.data.buffer).toBeInstanceOf(SharedArrayBuffer);
  expect(encodeSession(graph(), { threads: 1, weights: files() }).weights).toEqual({});
});

test("reads a file once for all graphs and sessions", () => {
  const shared = new SharedWeights(files());
  const [one, two] = [shared.of(graph()), shared.of(graph())];
  expect(must(one["w"], "w").data.buffer).toBe(must(two["w"], "w").data.buffer);
});

test("gives the bytes of mapped weights, on this thread and on another", async () => {
  const weights = { threads: 1, weights: files() };
  const shared = new SharedWeights(files());
  using mapped = await openSession(graph(), weights);
  using fed = await openSession(graph(), { ...weights, shared });
  await using replica = await openReplica(graph(), { ...weights, shared });
  const x = drawTensor("x", [3, 5]);
  const expected = await mapped.run({ x });
  expect([await fed.run({ x }), await replica.run({ x })]).toEqual([expected, expected]);
  // The replica reads this very memory: what is changed here changes there.
  new Uint8Array(must(shared.of(graph())["w"], "w").data.buffer).fill(0);
  const [here, there] = [await fed.run({ x }), await replica.run({ x })];
  expect(here).not.toEqual(expected);
  expect(there).toEqual(here);
});

test("a file that ends early is named", () => {
  const whole = files();
  const short = { folder: whole.folder, locate: (name: string) => ({ ...whole.locate(name), length: 4 }) };
  expect(() => new SharedWeights(short).of(graph())).toThrow("weight w: expected 30 elements, got 1");
  truncateSync(path, 100);
  expect(() => new SharedWeights(whole).of(graph())).toThrow("weight w: expected 30 elements, got");
});

test("a base that memory cannot hold is an error that says how to do without", () => {
  const folder = dirname(path);
  writeFileSync(join(folder, "vast"), "");
  truncateSync(join(folder, "vast"), 2 ** 43);
  const vast = new SharedWeights({ folder, locate: () => ({ file: "vast", offset: 0, length: 120 }) });
  expect(() => vast.of(graph())).toThrow(/vast: expected 8796094 MB of memory for the base, .* Set runtime\.data_parallel=1/);
});
