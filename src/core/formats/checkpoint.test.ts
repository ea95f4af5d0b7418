import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { tensor, type Tensor } from "../base/tensor.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { writeSafetensors } from "./safetensors-writer.ts";

const root = mkdtempSync(join(tmpdir(), "fedtune-checkpoint-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const folder = join(root, "model");
beforeEach(() => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
});

const embedding = tensor("float32", [2, 3], Float32Array.of(1.5, 2.5, 3.5, 5.5, 7.5, 11.5));
const norm = tensor("bfloat16", [2], Uint16Array.of(0x3fc0, 0xc2f7));
const model = "../shared/models/stories260k";

function shard(name: string, tensors: Record<string, Tensor>): void {
  writeSafetensors(join(folder, name), new Map(Object.entries(tensors)));
}
function index(weightMap: unknown): void {
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ metadata: { total_size: 28 }, weight_map: weightMap }));
}
function refusal(code: string, message: RegExp): unknown {
  const text: unknown = expect.stringMatching(message);
  return expect.objectContaining({ code, message: text });
}

describe("a sound folder", () => {
  test("with one file gives names, entries and tensors", () => {
    shard("model.safetensors", { embedding, norm });
    const checkpoint = openCheckpoint(folder);
    expect(checkpoint.names).toEqual(["embedding", "norm"]);
    expect(checkpoint.has("norm")).toBe(true);
    expect(checkpoint.has("bias")).toBe(false);
    const { path, start, end, shape } = checkpoint.entry("norm");
    expect([path, end - start, shape]).toEqual([join(folder, "model.safetensors"), 4, [2]]);
    expect(checkpoint.read("norm")).toEqual(norm);
  });

  test("with several files and an index gives the same", () => {
    shard("model-00001-of-00002.safetensors", { embedding });
    shard("model-00002-of-00002.safetensors", { norm });
    index({ norm: "model-00002-of-00002.safetensors", embedding: "model-00001-of-00002.safetensors" });
    const checkpoint = openCheckpoint(folder);
    expect(checkpoint.files).toHaveLength(2);
    expect(checkpoint.read("embedding")).toEqual(embedding);
    expect(checkpoint.entry("norm").path).toBe(join(folder, "model-00002-of-00002.safetensors"));
  });

  test("in the Hub's cache, whose files are links to blobs, opens", () => {
    const repository = join(root, "models--a--b");
    mkdirSync(join(repository, "blobs"), { recursive: true });
    mkdirSync(join(repository, "snapshots", "abc"), { recursive: true });
    writeSafetensors(join(repository, "blobs", "f00"), new Map([["norm", norm]]));
    symlinkSync("../../blobs/f00", join(repository, "snapshots", "abc", "model.safetensors"));
    expect(openCheckpoint(join(repository, "snapshots", "abc")).names).toEqual(["norm"]);
  });

  test("read as float32 widens float16 and bfloat16 and rounds float64", () => {
    shard("model.safetensors", { norm, half: tensor("float16", [2], Uint16Array.of(0x3e00, 0xc000)), double: tensor("float64", [1], Float64Array.of(0.1)), count: tensor("int64", [1], BigInt64Array.of(5n)) });
    const checkpoint = openCheckpoint(folder);
    expect(checkpoint.readFloat32("norm")).toEqual(tensor("float32", [2], Float32Array.of(1.5, -123.5)));
    expect(checkpoint.readFloat32("half")).toEqual(tensor("float32", [2], Float32Array.of(1.5, -2)));
    expect(checkpoint.readFloat32("double")).toEqual(tensor("float32", [1], Float32Array.of(0.1)));
    expect(() => checkpoint.readFloat32("count")).toThrow(refusal("model", /tensor "count": expected a floating dtype, got int64/));
    // Piece by piece into given memory: all of a tensor, and its end behind something else.
    for (const name of ["norm", "half", "double", "embedding"].filter((own) => checkpoint.has(own))) {
      const whole = checkpoint.readFloat32(name).data;
      const out = Float32Array.of(7, ...whole.map(() => NaN));
      checkpoint.readFloat32Into(name, 0, out.subarray(1));
      expect(out).toEqual(Float32Array.of(7, ...whole));
      const last = new Float32Array(1);
      checkpoint.readFloat32Into(name, whole.length - 1, last);
      expect(last[0]).toBe(whole.at(-1));
      expect(() => checkpoint.readFloat32Into(name, whole.length, last)).toThrow("from");
    }
    expect(() => checkpoint.readFloat32Into("count", 0, new Float32Array(1))).toThrow(refusal("model", /tensor "count": expected a floating dtype, got int64/));
  });

  test.skipIf(!existsSync(model))(`of a real model opens (needs ${model})`, () => {
    const checkpoint = openCheckpoint(model);
    expect(checkpoint.readFloat32("model.embed_tokens.weight").shape).toEqual([512, 64]);
  });
});

describe("refused is", () => {
  test("a folder without weights, with what it holds", () => {
    writeFileSync(join(folder, "config.json"), "{}");
    expect(() => openCheckpoint(folder)).toThrow(refusal("model", /expected weights in model\.safetensors or .*, got neither \(config\.json\)/));
  });

  test("a folder with pickled weights alone, by their name", () => {
    writeFileSync(join(folder, "pytorch_model-00001-of-00002.bin"), "");
    expect(() => openCheckpoint(folder)).toThrow(refusal("model", /got only pytorch_model-00001-of-00002\.bin.*Convert it in Python/));
  });

  test("a folder that is not there", () => {
    expect(() => openCheckpoint(join(root, "none"))).toThrow(refusal("model", /none: expected a model's folder, got no such folder/));
  });

  test.each(["../secret.safetensors", "/etc/secret.safetensors", "a/../../secret.safetensors", "a\\..\\secret"])("an index that leads out of the folder: %s", (name) => {
    writeSafetensors(join(root, "secret.safetensors"), new Map([["norm", norm]]));
    index({ norm: name });
    expect(() => openCheckpoint(folder)).toThrow(refusal("model", /expected weight files inside the model's folder/));
  });

  test("a link that leads out of the folder", () => {
    writeSafetensors(join(root, "secret.safetensors"), new Map([["norm", norm]]));
    symlinkSync("../secret.safetensors", join(folder, "shard.safetensors"));
    index({ norm: "shard.safetensors" });
    expect(() => openCheckpoint(folder)).toThrow(refusal("model", /"shard\.safetensors", a link to /));
  });

  test("an index that is not JSON, or has no weight_map", () => {
    writeFileSync(join(folder, "model.safetensors.index.json"), "{");
    expect(() => openCheckpoint(folder)).toThrow(refusal("model", /index\.json: expected JSON with a weight_map/));
    index(undefined);
    expect(() => openCheckpoint(folder)).toThrow(refusal("model", /weight_map/));
  });

  test("a file that the index names and the folder lacks", () => {
    index({ norm: "model-00001-of-00001.safetensors" });
    expect(() => openCheckpoint(folder)).toThrow(refusal("model", /expected a file "model-00001-of-00001\.safetensors"/));
  });

  test("a tensor that is not in the file that the index names", () => {
    shard("a.safetensors", { norm });
    index({ norm: "a.safetensors", embedding: "a.safetensors" });
    expect(() => openCheckpoint(folder)).toThrow(refusal("model", /expected tensor "embedding" in a\.safetensors, got no such tensor/));
  });

  test("a tensor that lies in two files", () => {
    shard("a.safetensors", { norm, embedding });
    shard("b.safetensors", { norm });
    index({ norm: "a.safetensors", embedding: "b.safetensors" });
    expect(() => openCheckpoint(folder)).toThrow(refusal("model", /expected tensor "norm" in one file, got it in a\.safetensors and in b\.safetensors/));
  });

  test("a name that the checkpoint lacks, with the nearest", () => {
    shard("model.safetensors", { norm });
    expect(() => openCheckpoint(folder).read("norms")).toThrow(refusal("model", /Did you mean `norm`\?/));
  });
});
