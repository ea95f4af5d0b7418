import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { dataSchema } from "../settings.ts";
import { readRecords } from "./read.ts";

const base = mkdtempSync(join(tmpdir(), "fedtune-sources-"));
afterAll(() => rmSync(base, { recursive: true }));

function write(path: string, content: string | Uint8Array): string {
  mkdirSync(dirname(join(base, path)), { recursive: true });
  writeFileSync(join(base, path), content);
  return path;
}

async function read(path: string, format = "auto"): Promise<Awaited<ReturnType<typeof readRecords>>> {
  return readRecords(dataSchema.parse({ path, format }), base);
}

/** Two rows with instruction, input (null in the first), output, a large number and messages; written by pyarrow with zstd. */
const PARQUET = "UEFSMRUAFUwVXiwVBBUAFQYVBhwAAAAotS/9ICYxAQACAAAABAELAAAAQWRkIDIgYW5kIDMNAAAATsOkbWUgYSBmcnVpdBUAFRoVLCwVBBUAFQYVBhwAAAAotS/9IA1pAAACAAAAAwIDAAAAcmVkFQAVKBU6LBUEFQAVBhUGHAAAACi1L/0gFKEAAAIAAAAEAQEAAAA1BQAAAEFwcGxlFQAVLBUwLBUEFQAVBhUGHAAAACi1L/0gFn0AAEgCAAAABAEHABABAAfgAhUAFWwVZCwVCBUAFQYVBhwAAAAotS/9IDZNAQAUAgIAAAADCgIAAAAIBAQAAAB1c2VyCQAAAGFzc2lzdGFudAEAwW8+ARUAFVoVbCwVCBUAFQYVBhwAAAAotS/9IC1pAQACAAAAAwoCAAAACAQCAAAASGkFAAAASGVsbG8DAAAAQnllBwAAAFNlZSB5b3UVBBmsNQAYBnNjaGVtYRUKABUMJQIYC2luc3RydWN0aW9uJQBMHAAAABUMJQIYBWlucHV0JQBMHAAAABUMJQIYBm91dHB1dCUATBwAAAAVBCUCGAFuADUCGAhtZXNzYWdlcxUCFQZMPAAAADUEGARsaXN0FQIANQIYB2VsZW1lbnQVBAAVDCUCGARyb2xlJQBMHAAAABUMJQIYB2NvbnRlbnQlAEwcAAAAFgQZHBlsJgAcFQwZJQYAGRgLaW5zdHJ1Y3Rpb24VDBYEFnIWhAEmCEkcFQAVABUCADwWMBkGGSYABAAAACYAHBUMGSUGABkYBWlucHV0FQwWBBZAFlImjAFJHBUAFQAVAgA8FgYZBhkmAgIAAAAmABwVDBklBgAZGAZvdXRwdXQVDBYEFk4WYCbeAUkcFQAVABUCADwWDBkGGSYABAAAACYAHBUEGSUGABkYAW4VDBYEFlIWVia+AkkcFQAVABUCADwpBhkmAAQAAAAmABwVDBklBgAZSAhtZXNzYWdlcwRsaXN0B2VsZW1lbnQEcm9sZRUMFggWkgEWigEmlANJHBUAFQAVAgA8FjQZJgQEGVYAAAAACAAAACYAHBUMGSUGABlICG1lc3NhZ2VzBGxpc3QHZWxlbWVudAdjb250ZW50FQwWCBaAARaSASaeBEkcFQAVABUCADwWIhkmBAQZVgAAAAAIAAAAFuQEFgQmCBaoBQAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjYuMC4xGWwcAAAcAAAcAAAcAAAcAAAcAAAAUwIAAFBBUjE=";

const ROWS = [{ instruction: "Add 2 and 3", output: "5" }, { instruction: "Näme a fruit", output: "Apple, \"red\"" }];

/** The same two rows in each text format: the contract that every format keeps. */
const FORMATS = [
  ["json", "a.json", JSON.stringify(ROWS), [1, 2], "row"],
  ["json with data", "b.json", JSON.stringify({ data: ROWS, version: 3 }), [1, 2], "row"],
  ["jsonl", "c.jsonl", `\ufeff${JSON.stringify(ROWS[0])}\r\n\n${JSON.stringify(ROWS[1])}\n`, [1, 3], "line"],
  ["csv", "d.csv", 'instruction,output\nAdd 2 and 3,5\nNäme a fruit,"Apple, ""red"""\n', [2, 3], "line"],
  ["tsv", "e.tsv", 'instruction\toutput\nAdd 2 and 3\t5\nNäme a fruit\t"Apple, ""red"""\n', [2, 3], "line"],
] as const;

describe.each(FORMATS)("a %s file", (_, path, content, places, unit) => {
  it("gives its rows in order, each with its place", async () => {
    const { records, files } = await read(write(path, content));
    expect(records.map((r) => r.fields)).toEqual(ROWS);
    expect(records.map((r) => r.origin)).toEqual(places.map((at) => ({ file: path, at, unit })));
    expect(files).toMatchObject([{ path, rows: 2 }]);
  });
});

describe("a Parquet file", () => {
  it("gives its rows with nested lists, nulls and 64-bit numbers as JSON would have them", async () => {
    const { records } = await read(write("f.parquet", Buffer.from(PARQUET, "base64")));
    expect(records.map((r) => r.fields)).toEqual([
      { instruction: "Add 2 and 3", input: null, output: "5", n: 7, messages: [{ role: "user", content: "Hi" }, { role: "assistant", content: "Hello" }] },
      { instruction: "Näme a fruit", input: "red", output: "Apple", n: "1152921504606846976", messages: [{ role: "user", content: "Bye" }, { role: "assistant", content: "See you" }] },
    ]);
  });

  it("is refused by name where it is not one", async () => {
    await expect(read(write("bad.parquet", "no parquet"))).rejects.toThrow(/bad.parquet: expected a Parquet file/);
  });
});

describe("malformed input is refused with file, line and remedy:", () => {
  it.each([
    ["a JSON line that is cut off", "x.jsonl", '{"a": 1}\n{"a": "b', /x.jsonl:2: expected a JSON object.*seems cut off/],
    ["a JSON line with a trailing comma", "x.jsonl", '{"a": 1},\n', /x.jsonl:1:.*Remove the comma/],
    ["a Python dict", "x.jsonl", "{'a': 1}\n", /x.jsonl:1:.*double quotes/],
    ["NaN", "x.jsonl", '{"a": NaN}\n', /x.jsonl:1:.*null, true and false/],
    ["a line that is no object", "x.jsonl", "5\n", /x.jsonl:1: expected a JSON object, got the number 5/],
    ["a JSON list named jsonl", "x.jsonl", '[\n{"a": 1}]', /data.format to json\./],
    ["JSON lines named json", "x.json", '{"a": 1}\n{"a": 2}', /x.json:2: .*data.format to jsonl/],
    ["a JSON object without data", "x.json", '{"rows": []}', /a list of objects.*an object with rows/],
    ["a JSON list of texts", "x.json", '["a"]', /x.json, row 1: expected an object, got the text "a"/],
    ["a CSV row with too many fields", "x.csv", "a,b\n1,2\n1,2,3\n", /x.csv:3: expected as many fields/],
    ["a CSV header that names a field twice", "x.csv", "a,a\n1,2\n", /x.csv:1: .*`a` twice/],
    ["bytes that are not UTF-8", "x.jsonl", Uint8Array.of(0x7b, 0xff), /x.jsonl: expected UTF-8/],
    ["an empty file", "x.jsonl", "\n", /x.jsonl: expected at least one row, got none/],
    ["a CSV with a header alone", "x.csv", "a,b\n", /at least one row/],
    ["an unknown ending", "x.txt", "a", /x.txt: expected a file that ends in .json.*Set data.format/],
  ])("%s", async (_, path, content, message) => {
    await expect(read(write(path, content))).rejects.toThrow(message);
  });
});

describe("a folder or glob", () => {
  it("gives its files in the order of their names, whatever else lies there", async () => {
    write("folder/b.jsonl", '{"n": 2}');
    write("folder/a.csv", "n\n1\n");
    write("folder/SOURCE.md", "notes");
    write("folder/deep/c.jsonl", '{"n": 3}');
    const { records, files } = await read("folder");
    expect(records.map((r) => [r.origin.file, Number(r.fields["n"])])).toEqual([["folder/a.csv", 1], ["folder/b.jsonl", 2]]);
    expect(files.map((f) => f.rows)).toEqual([1, 1]);
    expect((await read("folder/**/*.jsonl")).records.map((r) => r.origin.file)).toEqual(["folder/b.jsonl", "folder/deep/c.jsonl"]);
  });

  it("is refused where it holds nothing to read, and so is a path where nothing is", async () => {
    write("notes/readme.md", "x");
    await expect(read("notes")).rejects.toThrow(/notes: expected files that end in .*got only readme.md/);
    await expect(read("nowhere/*.jsonl")).rejects.toThrow(/got no file/);
    await expect(read("nowhere.jsonl")).rejects.toThrow(/nowhere.jsonl: expected a file, a glob or a folder, got nothing there/);
  });

  it("is read in the stated format, whatever the endings", async () => {
    write("lines.txt", '{"n": 1}\n');
    expect((await read("lines.txt", "jsonl")).records).toHaveLength(1);
  });
});

describe("a packed file", () => {
  it("is unpacked, and its format goes by the ending before .gz", async () => {
    const { records } = await read(write("g.jsonl.gz", gzipSync('{"n": 1}\n{"n": 2}\n')));
    expect(records.map((r) => r.fields["n"])).toEqual([1, 2]);
    await expect(read(write("bad.jsonl.gz", "no gzip"))).rejects.toThrow(/bad.jsonl.gz: expected a gzip file/);
  });
});

describe("plain text", () => {
  it("has a row for each block between blank lines, which knows its line", async () => {
    const { records } = await read(write("play.txt", "A:\r\nHear me.\n \n\nB:\nSpeak.\nSpeak on.\n"), "text");
    expect(records.map((r) => [r.fields["text"], r.origin.at])).toEqual([["A:\nHear me.", 1], ["B:\nSpeak.\nSpeak on.", 5]]);
  });

  it("can have speakers made by rule", async () => {
    write("play.txt", "A:\nHear me.\n\nExeunt.\n");
    const { records, derived } = await readRecords(dataSchema.parse({ path: "play.txt", format: "text", derive: ["speaker"] }), base);
    expect(records.map((r) => r.fields["speaker"])).toEqual(["A", undefined]);
    expect(derived).toEqual([{ name: "speaker", minExamples: 1 }]);
  });
});

describe("derived fields", () => {
  it("fill in what rows lack and leave what they have", async () => {
    write("code.jsonl", '{"instruction": "Print 1.", "output": "print(1)"}\n{"instruction": "Write SQL.", "output": "?", "language": "PL/pgSQL"}\n');
    const { records } = await readRecords(dataSchema.parse({ path: "code.jsonl", derive: ["language"] }), base);
    expect(records.map((r) => r.fields["language"])).toEqual(["Python", "PL/pgSQL"]);
  });
});

describe("a share of the rows", () => {
  it("is drawn under the seed, in the order of the file, and part of what rows follow from", async () => {
    write("many.jsonl", Array.from({ length: 200 }, (_, n) => JSON.stringify({ n })).join("\n"));
    const draw = async (seed: number): ReturnType<typeof readRecords> => readRecords(dataSchema.parse({ path: "many.jsonl", sample: 0.25 }), base, { seed });
    const numbers = async (seed: number): Promise<readonly unknown[]> => (await draw(seed)).records.map((r) => r.fields["n"]);
    expect(await numbers(1)).toHaveLength(50);
    expect(await numbers(1)).toEqual((await numbers(1)).toSorted((a, b) => Number(a) - Number(b)));
    expect(await numbers(1)).not.toEqual(await numbers(2));
    expect([(await draw(1)).recipe, (await draw(2)).recipe]).toEqual(["sample 0.25 of seed 1", "sample 0.25 of seed 2"]);
    expect((await draw(1)).files).toMatchObject([{ rows: 50 }]);
  });
});

describe("a source of one's own", () => {
  async function own(source: string): ReturnType<typeof readRecords> {
    return readRecords(dataSchema.parse({ source, max_tokens: 77 }), base);
  }

  it("yields rows from a module, which sees the settings", async () => {
    write("mine.mjs", "export default async function* (settings) { yield { n: settings.max_tokens }; yield { n: 2 }; }");
    const { records, files } = await own("mine.mjs");
    expect(records.map((r) => [r.fields["n"], r.origin.at])).toEqual([[77, 1], [2, 2]]);
    expect(files).toMatchObject([{ path: "mine.mjs", rows: 2 }]);
  });

  it("is refused where the module is missing, exports no function, yields no object, or throws", async () => {
    await expect(own("gone.mjs")).rejects.toMatchObject({ code: "config" });
    write("object.mjs", "export default { a: 1 };");
    await expect(own("object.mjs")).rejects.toThrow(/a function as default export, got an object/);
    write("numbers.mjs", "export default function* () { yield { n: 1 }; yield 5; }");
    await expect(own("numbers.mjs")).rejects.toThrow(/numbers.mjs, row 2: expected an object, got the number 5/);
    write("throws.mjs", "export default function* () { throw new Error('no connection'); }");
    await expect(own("throws.mjs")).rejects.toThrow(/throws.mjs, row 1: .*no connection/);
  });
});
