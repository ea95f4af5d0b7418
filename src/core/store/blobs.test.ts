import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import { sha256 } from "../base/hash.ts";
import { tensor, type Tensor } from "../base/tensor.ts";
import { openBlobs, type BlobStore } from "./blobs.ts";

const root = mkdtempSync(join(tmpdir(), "fedtune-blobs-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
function refusal(text: string): unknown {
  const message: unknown = expect.stringContaining(text);
  return expect.objectContaining({ code: "data", message });
}

let blobs: BlobStore;
beforeEach(() => {
  blobs = openBlobs(mkdtempSync(join(root, "store-")));
});

const bytes = Uint8Array.of(2, 3, 5, 7);

test("what is put comes back under its SHA-256, also from a store opened anew", () => {
  const hash = blobs.putBlob(bytes);
  expect(hash).toBe(sha256(bytes));
  expect([...openBlobs(blobs.folder).getBlob(hash)]).toEqual([2, 3, 5, 7]);
  expect(blobs.hasBlob(hash)).toBe(true);
  expect(blobs.hasBlob(sha256("another"))).toBe(false);
});

test("the same bytes put twice are written once, and no temporary stays", () => {
  const path = join(blobs.folder, blobs.putBlob(bytes));
  const { ino } = statSync(path);
  blobs.putBlob(bytes);
  expect(statSync(path).ino).toBe(ino);
  expect(readdirSync(blobs.folder)).toEqual([sha256(bytes)]);
});

test("equal tensors have one hash, in whatever order they are given", () => {
  const a = tensor("float32", [2], Float32Array.of(1.5, 2.5));
  const b = tensor("int32", [1], Int32Array.of(7));
  const tensors = new Map<string, Tensor>([["a", a], ["b", b]]);
  const hash = blobs.putTensors(tensors);
  expect(blobs.putTensors(new Map<string, Tensor>([["b", b], ["a", a]]))).toBe(hash);
  expect(blobs.getTensors(hash)).toEqual(tensors);
});

test("a damaged blob is refused by its file's name, and put right by putting its bytes again", () => {
  const hash = blobs.putBlob(bytes);
  const path = join(blobs.folder, hash);
  writeFileSync(path, Uint8Array.of(2, 3, 5, 8));
  const refused = refusal(`${path}: expected bytes with the SHA-256 ${hash.slice(0, 12)}`);
  expect(() => blobs.getBlob(hash)).toThrow(refused);
  expect(() => blobs.getTensors(hash)).toThrow(refused);
  blobs.putBlob(bytes);
  expect(new Uint8Array(readFileSync(path))).toEqual(bytes);
});

test("a missing blob is refused by its file's name", () => {
  const hash = sha256("another");
  expect(() => blobs.getBlob(hash)).toThrow(refusal(`${join(blobs.folder, hash)}: expected a stored blob, got no such file`));
});

test("a hash that is none cannot name a file elsewhere", () => {
  expect(() => blobs.getBlob("../../etc/passwd")).toThrow(refusal("expected a SHA-256"));
});
