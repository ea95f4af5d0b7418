import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { aliveResources } from "../base/disposal.ts";
import { DTYPES, bytesOf, elementCount, tensor, viewBytes, bytesPerElement, type Tensor } from "../base/tensor.ts";
import { createSafetensorsWriter, encodeSafetensors, writeSafetensors } from "./safetensors-writer.ts";
import { decodeSafetensors, readSafetensors, readSafetensorsHeader, readTensor } from "./safetensors.ts";

const folder = mkdtempSync(join(tmpdir(), "fedtune-safetensors-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, "x.safetensors");
const golden = "../shared/goldens/peft/stories260k.lora/adapter/adapter_model.safetensors";

function refusal(code: string, text: RegExp): unknown {
  const message: unknown = expect.stringMatching(text);
  return expect.objectContaining({ code, message });
}

/** A file with this header text, `dataBytes` of data, and (if given) another header length than the text's. */
function fileOf(header: string | object, dataBytes = 0, length?: bigint): string {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const start = Buffer.alloc(8);
  start.writeBigUInt64LE(length ?? BigInt(json.byteLength));
  writeFileSync(path, Buffer.concat([start, json, Buffer.alloc(dataBytes)]));
  return path;
}

const anyTensor: fc.Arbitrary<Tensor> = fc
  .record({ dtype: fc.constantFrom(...DTYPES), shape: fc.array(fc.constantFrom(0, 1, 2, 3, 5), { maxLength: 3 }), seed: fc.nat(200) })
  .map(({ dtype, shape, seed }) => {
    const bytes = Uint8Array.from({ length: elementCount(shape) * bytesPerElement(dtype) }, (_, i) => (i * 37 + seed) % 251);
    return tensor(dtype, shape, viewBytes(dtype, bytes));
  });
const anyTensors = fc.uniqueArray(fc.tuple(fc.string(), anyTensor), { maxLength: 6, selector: ([name]) => name }).map((pairs) => new Map(pairs.filter(([name]) => name !== "__metadata__")));

/** What must be equal: bytes rather than elements, since NaN differs from itself. */
function plain(tensors: ReadonlyMap<string, Tensor>): Record<string, unknown> {
  return Object.fromEntries([...tensors].map(([name, { dtype, shape, data }]) => [name, [dtype, shape, Buffer.from(bytesOf(data)).toString("hex")]]));
}

describe("round trips", () => {
  test("any tensors and metadata come back from bytes and from a file as they went in", () => {
    fc.assert(
      fc.property(anyTensors, fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }), (tensors, metadata) => {
        const bytes = encodeSafetensors(tensors, metadata);
        const decoded = decodeSafetensors(bytes, "bytes");
        expect(plain(decoded.tensors)).toEqual(plain(tensors));
        expect({ ...decoded.metadata }).toEqual({ ...metadata });
        writeSafetensors(path, tensors, metadata);
        expect(readFileSync(path)).toEqual(Buffer.from(bytes));
        expect(plain(readSafetensors(path).tensors)).toEqual(plain(tensors));
      }),
      { numRuns: 100 },
    );
  });

  test.skipIf(!existsSync(golden))(`an adapter that PEFT wrote is written again byte for byte (needs ${golden})`, () => {
    const { tensors, metadata } = readSafetensors(golden);
    expect(metadata).toEqual({ format: "pt" });
    expect(tensors.size).toBeGreaterThan(8);
    writeSafetensors(path, new Map([...tensors].reverse()), metadata);
    expect(readFileSync(path).equals(readFileSync(golden))).toBe(true);
  });

  test("tensors lie by dtype, wider first, then by name, as the Python library has it", () => {
    const tensors = new Map<string, Tensor>([
      ["b", tensor("uint8", [3], Uint8Array.of(1, 2, 3))],
      ["z", tensor("float32", [2], Float32Array.of(1.5, 2.5))],
      ["a", tensor("float32", [1], Float32Array.of(3.5))],
      ["h", tensor("float16", [1], Uint16Array.of(7))],
      ["f", tensor("bfloat16", [1], Uint16Array.of(7))],
      ["l", tensor("int64", [1], BigInt64Array.of(5n))],
    ]);
    expect([...decodeSafetensors(encodeSafetensors(tensors), "bytes").tensors.keys()]).toEqual(["l", "a", "z", "f", "h", "b"]);
  });

  test("one tensor is read without the others", () => {
    writeSafetensors(path, new Map([["a", tensor("float32", [2], Float32Array.of(2.5, 3.5))], ["b", tensor("float32", [3], Float32Array.of(5, 7, 11))]]));
    expect(readTensor(readSafetensorsHeader(path), "b")).toEqual(tensor("float32", [3], Float32Array.of(5, 7, 11)));
  });
});

describe("the streaming writer", () => {
  const declarations = [{ name: "b", dtype: "float32", shape: [2, 1] }, { name: "a", dtype: "int8", shape: [3] }] as const;
  const b = tensor("float32", [2, 1], Float32Array.of(1.5, 2.5));
  const a = tensor("int8", [3], Int8Array.of(-2, 3, 5));

  test("writes in the declared order, with the data at the alignment that was asked for", () => {
    const out = join(folder, "streamed.safetensors");
    using writer = createSafetensorsWriter(out, declarations, { metadata: { made: "here" }, align: 4096 });
    writer.write("b", b);
    writer.write("a", a);
    expect(existsSync(out)).toBe(false);
    writer.finish();
    const file = readSafetensorsHeader(out);
    expect(file.dataStart).toBe(4096);
    expect(file.metadata).toEqual({ made: "here" });
    expect(plain(readSafetensors(out).tensors)).toEqual(plain(new Map<string, Tensor>([["b", b], ["a", a]])));
  });

  test("leaves neither file nor handle behind when it is disposed of unfinished", () => {
    const before = aliveResources("safetensors writer");
    const out = join(folder, "unfinished.safetensors");
    {
      using writer = createSafetensorsWriter(out, declarations);
      writer.write("b", b);
      expect(() => writer.finish()).toThrow("a is not yet written");
    }
    expect(existsSync(out) || existsSync(`${out}.partial`)).toBe(false);
    expect(aliveResources("safetensors writer")).toBe(before);
  });

  test("refuses a tensor that is not the one declared next", () => {
    using writer = createSafetensorsWriter(join(folder, "wrong.safetensors"), declarations);
    expect(() => writer.write("a", a)).toThrow("b float32[2, 1] is due, got a int8[3]");
    expect(() => writer.write("b", { ...b, shape: [1, 2] })).toThrow("b float32[2, 1] is due, got b float32[1, 2]");
  });

  test("names the path where it cannot write", () => {
    expect(() => createSafetensorsWriter(join(folder, "nowhere", "x"), declarations)).toThrow(refusal("resources", /nowhere\/x: expected a safetensors file to write/));
  });
});

describe("unsound files are refused in one sentence that names file and tensor", () => {
  const f32 = (begin: number, end: number, shape: readonly unknown[] = [(end - begin) / 4]): object => ({ dtype: "F32", shape, data_offsets: [begin, end] });
  const cases: readonly (readonly [string, () => string, RegExp])[] = [
    ["an empty file", () => (writeFileSync(path, ""), path), /expected a safetensors file, got an empty file/],
    ["three bytes", () => (writeFileSync(path, "abc"), path), /got 3 bytes/],
    ["a header length of 10 GB", () => fileOf("{}", 0, 10_000_000_000n), /header of at most 100000000 bytes, got a header length of 10000000000 bytes/],
    ["a header length of 2^64 − 1", () => fileOf("{}", 0, 2n ** 64n - 1n), /got a header length of 18446744073709551615 bytes/],
    ["a header longer than the file", () => fileOf("{}", 0, 5000n), /holds its header of 5000 bytes, got a file of 10 bytes/],
    ["a zipped pickle", () => (writeFileSync(path, "PK\x03\x04 and so on"), path), /got a PyTorch file with pickled code\. Convert it/],
    ["a pickle", () => (writeFileSync(path, Buffer.from([0x80, 2, 1, 1, 1, 1, 1, 1, 1, 1])), path), /got a pickled Python file/],
    ["a Git LFS pointer", () => (writeFileSync(path, "version https://git-lfs.github.com/spec/v1\n"), path), /git lfs pull/],
    ["a header that is not JSON", () => fileOf("{nope}"), /expected a safetensors header of JSON/],
    ["a header that is not UTF-8", () => (writeFileSync(path, Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe])), path), /expected a safetensors header of JSON/],
    ["a header that is a list", () => fileOf("[1]"), /expected a safetensors header that is a JSON object, got \[1\]/],
    ["metadata that is not text", () => fileOf({ __metadata__: { epoch: 3 } }), /__metadata__\.epoch: expected a text, got 3/],
    ["an entry that is not an object", () => fileOf({ w: 5 }), /tensor "w": expected an object with dtype/],
    ["an unknown dtype", () => fileOf({ w: { dtype: "Q4", shape: [], data_offsets: [0, 0] } }), /tensor "w": expected a dtype among F64, F32.*got "Q4"/],
    ["a negative dimension", () => fileOf({ w: f32(0, 8, [-1, -2]) }, 8), /tensor "w": expected a shape of non-negative integers, got \[-1,-2\]/],
    ["a fractional dimension", () => fileOf({ w: f32(0, 8, [0.5, 4]) }, 8), /expected a shape of non-negative integers/],
    ["a shape beyond all counting", () => fileOf({ w: f32(0, 8, [2 ** 40, 2 ** 40]) }, 8), /expected a size that can be counted/],
    ["a negative offset", () => fileOf({ w: f32(-4, 4, [2]) }, 8), /tensor "w": expected data_offsets with 0 ≤ begin ≤ end, got \[-4,4\]/],
    ["an end before the begin", () => fileOf({ w: f32(8, 0, [2]) }, 8), /expected data_offsets with 0 ≤ begin ≤ end/],
    ["offsets that are not two", () => fileOf({ w: { dtype: "F32", shape: [2], data_offsets: [0] } }, 8), /expected data_offsets \[begin, end\], got \[0\]/],
    ["a size that contradicts the shape", () => fileOf({ w: f32(0, 8, [3]) }, 8), /tensor "w": expected 12 bytes for float32\[3\], got data_offsets \[0,8\] of 8 bytes/],
    ["data beyond the file", () => fileOf({ w: f32(0, 12) }, 8), /tensor "w": expected data within the file's \d+ bytes, got data up to byte \d+/],
    ["overlapping tensors", () => fileOf({ v: f32(0, 8), w: f32(4, 12) }, 12), /tensor "w": .*overlaps "v"'s by 4 bytes/],
    ["a hole between tensors", () => fileOf({ v: f32(0, 8), w: f32(12, 20) }, 20), /tensor "w": .*a hole of 4 bytes after "v"/],
    ["a hole after the header", () => fileOf({ v: f32(4, 8) }, 8), /tensor "v": .*a hole of 4 bytes after the header/],
    ["bytes that no tensor owns", () => fileOf({ v: f32(0, 8) }, 9), /expected a file of \d+ bytes, as its header says, got \d+ bytes/],
    ["nesting that exhausts a parser", () => fileOf(`{"w":${"[".repeat(1e6)}`), /expected a safetensors header nested 3 deep, got deeper nesting/],
    ["metadata of a million escapes that never ends", () => fileOf(`{"__metadata__":{"a":"${"\\n".repeat(1e6)}`), /expected a safetensors header of JSON/],
    ["a name given twice", () => fileOf(`{"w":${JSON.stringify(f32(0, 8))}, "\\u0077":${JSON.stringify(f32(0, 8))}}`, 8), /tensor "w": expected each name once, got the name twice/],
  ];
  test.each(cases)("%s", (_name, make, message) => {
    const file = make();
    const refused = refusal("model", message);
    expect(() => readSafetensorsHeader(file)).toThrow(refused);
    expect(() => readSafetensorsHeader(file)).toThrow(path);
    const bytes = readFileSync(file);
    expect(() => decodeSafetensors(bytes, path)).toThrow(refused);
  });

  test("every truncation of a sound file is refused", () => {
    const bytes = encodeSafetensors(new Map([["a", tensor("float32", [2], Float32Array.of(2.5, 3.5))]]), { format: "pt" });
    for (let length = 0; length < bytes.byteLength; length++) {
      expect(() => decodeSafetensors(bytes.subarray(0, length), "cut"), `${length} bytes`).toThrow(expect.objectContaining({ code: "model" }));
    }
  });

  test("keys inside an entry and text inside metadata do not count as names", () => {
    const header = { __metadata__: { shape: 'a "quoted", {braced} text', dtype: "," }, dtype: f32(0, 4), shape: f32(4, 8) };
    expect([...readSafetensorsHeader(fileOf(header, 8)).tensors.keys()]).toEqual(["dtype", "shape"]);
  });

  test("a path to no file, or to a folder", () => {
    expect(() => readSafetensorsHeader(join(folder, "none"))).toThrow(refusal("model", /none: expected a safetensors file, got no such file/));
    expect(() => readSafetensorsHeader(folder)).toThrow(refusal("model", /expected a safetensors file, got a folder/));
  });

  test("a name that the file lacks is answered with the nearest", () => {
    writeSafetensors(path, new Map([["model.norm.weight", tensor("float32", [1], Float32Array.of(2.5))]]));
    expect(() => readTensor(readSafetensorsHeader(path), "model.norm.weights")).toThrow("Did you mean `model.norm.weight`?");
  });

  test("a file cut short after its header was read is refused on reading", () => {
    writeSafetensors(path, new Map([["a", tensor("float32", [4], Float32Array.of(2, 3, 5, 7))]]));
    const file = readSafetensorsHeader(path);
    writeFileSync(path, readFileSync(path).subarray(0, file.dataStart + 6));
    expect(() => readTensor(file, "a")).toThrow(/tensor "a": expected 16 bytes, got 6 bytes/);
  });
});
