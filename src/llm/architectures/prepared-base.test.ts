import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { TINY_CONFIG, writeTinyLlama } from "../../../test/support/tiny-llama.ts";
import { temporaryFolder } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { tensor, type Tensor } from "../../core/base/tensor.ts";
import { float16ToFloat32, float32ToBfloat16 } from "../../core/formats/half.ts";
import { readSafetensors } from "../../core/formats/safetensors.ts";
import { llama } from "./llama.ts";
import { prepareBase } from "./prepared-base.ts";

const root = temporaryFolder();
const model = llama.open(TINY_CONFIG, "test");
const Q = "model.layers.1.self_attn.q_proj.weight";

/** A model folder with its tensors edited. */
function folderWith(name: string, edit: (tensors: Map<string, Tensor>) => void): string {
  writeTinyLlama(join(root, name), { edit });
  return join(root, name);
}

describe("weights that contradict config.json are refused by tensor", () => {
  test("a tensor that is missing, with the nearest name", async () => {
    const folder = folderWith("missing", (tensors) => {
      tensors.set("model.layers.1.self_attn.q_porj.weight", must(tensors.get(Q), Q));
      tensors.delete(Q);
    });
    await expect(prepareBase(folder, model)).rejects.toMatchObject({ code: "model", message: `${folder}: expected a tensor ${Q}, as config.json asks for, got none of that name. Did you mean \`model.layers.1.self_attn.q_porj.weight\`?` });
  });

  test("a tensor of another shape, also where the joined one would come out right", async () => {
    const [k, v] = ["model.layers.0.self_attn.k_proj.weight", "model.layers.0.self_attn.v_proj.weight"];
    const folder = folderWith("shape", (tensors) => {
      tensors.set(k, tensor("float32", [5, 24], new Float32Array(120)));
      tensors.set(v, tensor("float32", [11, 24], new Float32Array(264)));
    });
    await expect(prepareBase(folder, model)).rejects.toMatchObject({ code: "model", message: `${folder}: ${k}: expected shape [8, 24], as config.json says, got [5, 24]. config.json and the weights are of different models.` });
  });

  test("whole numbers in place of weights, and no weights at all", async () => {
    const folder = folderWith("integers", (tensors) => tensors.set(Q, tensor("int32", [24, 24], new Int32Array(576))));
    await expect(prepareBase(folder, model)).rejects.toThrow(`tensor "${Q}": expected a floating dtype, got int32`);
    rmSync(join(folder, "model.safetensors"));
    await expect(prepareBase(folder, model)).rejects.toThrow(`${folder}: expected weights in model.safetensors`);
  });

  test("a file that ends too early", async () => {
    const folder = folderWith("short", () => undefined);
    const path = join(folder, "model.safetensors");
    writeFileSync(path, readFileSync(path).subarray(0, -100));
    await expect(prepareBase(folder, model)).rejects.toMatchObject({ name: "FedtuneError", code: "model" });
  });
});

describe("the prepared base", () => {
  test("holds each tensor in float32 where it says, joined from the checkpoint's, on a page's start", async () => {
    const folder = join(root, "half");
    const tensors = writeTinyLlama(folder, { dtype: "float16" });
    const base = await prepareBase(folder, model);
    const { file } = base.weights.locate("model.norm.weight");
    const path = join(base.weights.folder, file);
    const written = readSafetensors(path).tensors;
    for (const { name, shape, parts } of model.tensors) {
      const expected = parts.flatMap((part) => [...float16ToFloat32(must(tensors.get(part.name), part.name).data as Uint16Array)]);
      expect(must(written.get(name), name)).toEqual(tensor("float32", shape, Float32Array.from(expected)));
      expect(base.weights.locate(name).length).toBe(4 * expected.length);
      // Each part lies by its own name within what it is joined to.
      let offset = base.weights.locate(name).offset;
      for (const part of parts) {
        const length = 4 * must(tensors.get(part.name), part.name).data.length;
        expect(base.weights.locate(part.name)).toEqual({ file, offset, length });
        offset += length;
      }
    }
    expect(Math.min(...model.tensors.map(({ name }) => base.weights.locate(name).offset)) % 4096).toBe(0);
    expect(base.parameters).toBe([...tensors.values()].reduce((n, t) => n + t.data.length, 0));
  });

  test("is made once for equal weights wherever they lie, and anew for others", async () => {
    const cache = (): number => readdirSync(must(process.env["FEDTUNE_CACHE"], "cache")).length;
    const first = await prepareBase(folderWith("one", () => undefined), model);
    const before = cache();
    const again = await prepareBase(folderWith("two", () => undefined), model);
    expect([again.checkpointHash, again.weights.locate(Q.replace("q_proj", "o_proj"))]).toEqual([first.checkpointHash, first.weights.locate(Q.replace("q_proj", "o_proj"))]);
    expect(cache()).toBe(before);
    writeTinyLlama(join(root, "three"), { seed: 4 });
    const other = await prepareBase(join(root, "three"), model);
    expect(other.checkpointHash).not.toBe(first.checkpointHash);
    expect(cache()).toBe(before + 1);
  });

  test("in half precision takes half the room, with the weights of a float32 checkpoint rounded to it", async () => {
    const folder = join(root, "narrowed");
    const tensors = writeTinyLlama(folder);
    const base = await prepareBase(folder, model, { dtype: "bfloat16" });
    const written = readSafetensors(join(base.weights.folder, base.weights.locate("model.norm.weight").file)).tensors;
    for (const { name, shape, parts } of model.tensors) {
      const expected = parts.flatMap((part) => [...float32ToBfloat16(must(tensors.get(part.name), part.name).data as Float32Array)]);
      expect(must(written.get(name), name)).toEqual(tensor("bfloat16", shape, Uint16Array.from(expected)));
      expect(parts.map((part) => base.weights.locate(part.name).length)).toEqual(parts.map((part) => 2 * part.rows * shape.slice(1).reduce((n, d) => n * d, 1)));
    }
    expect(base.apart).toBe(false);
  });

  test("is the checkpoint itself where it has that dtype: nothing is written, and each tensor lies where its file says", async () => {
    const folder = join(root, "straight");
    const tensors = writeTinyLlama(folder, { dtype: "float16" });
    const before = readdirSync(must(process.env["FEDTUNE_CACHE"], "cache")).length;
    const base = await prepareBase(folder, model, { dtype: "float16" });
    expect([base.apart, readdirSync(must(process.env["FEDTUNE_CACHE"], "cache")).length]).toEqual([true, before]);
    const bytes = readFileSync(join(folder, "model.safetensors"));
    for (const [name, { data }] of tensors) {
      const { file, offset, length } = base.weights.locate(name);
      expect([join(base.weights.folder, file), bytes.subarray(offset, offset + length)]).toEqual([join(folder, "model.safetensors"), Buffer.from(data.buffer, data.byteOffset, data.byteLength)]);
    }
    // Another half precision is another base.
    expect((await prepareBase(folder, model, { dtype: "bfloat16" })).apart).toBe(false);
  });

  test("a weight that float16 cannot hold is refused by name", async () => {
    const folder = folderWith("wide", (tensors) => {
      const t = must(tensors.get(Q), Q);
      tensors.set(Q, tensor("float32", t.shape, (t.data as Float32Array).with(5, -70_000)));
    });
    await expect(prepareBase(folder, model, { dtype: "float16" })).rejects.toMatchObject({ code: "model", message: expect.stringMatching(/model\.layers\.1\.self_attn\.qkv_proj\.weight: expected values within float16's range of ±65,504, got -70000\. Run with runtime\.compute=bfloat16/) });
    expect((await prepareBase(folder, model, { dtype: "bfloat16" })).apart).toBe(false);
  });
});
