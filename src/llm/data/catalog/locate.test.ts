import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { sha256 } from "../../../core/base/hash.ts";
import { LocalServer } from "../../../core/store/local-server.fixture.ts";
import { DATASETS } from "./all.ts";
import { datasetStates, locateDataset, type LocateOptions } from "./locate.ts";

const root = mkdtempSync(join(tmpdir(), "fedtune-catalog-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const SHARED = "../shared/data";
const ALPACA = "/tatsu-lab/stanford_alpaca/761dc5bfbdeeffa89b8bff5d038781a4055f796a/alpaca_data.json";
const CONTENT = Buffer.from(JSON.stringify(Array.from({ length: 3000 }, (_, i) => ({ instruction: `Say ${i}.`, input: "", output: String(i) }))));

let server: LocalServer;
let options: LocateOptions & { readonly datasetFolder: string; readonly environment: Record<string, string> };
beforeEach(async () => {
  server = new LocalServer();
  server.files = { [ALPACA]: CONTENT };
  options = { datasetFolder: mkdtempSync(join(root, "cache-")), environment: { FEDTUNE_GITHUB: await server.listen(), HF_HOME: join(root, "nobody") }, pause: () => Promise.resolve() };
});
afterEach(() => server.close());

function refusal(code: string, message: RegExp): unknown {
  const text: unknown = expect.stringMatching(message);
  return expect.objectContaining({ code, message: text });
}

describe("the catalog", () => {
  it.each(Object.entries(DATASETS))("says of %s where it comes from, under which licence, and what its fields mean", (name, dataset) => {
    expect([dataset.title, dataset.licence].every((text) => text.length > 2)).toBe(true);
    expect(Object.keys(dataset.parts)).toContain(dataset.part);
    expect(Object.keys(dataset.fields).length).toBeGreaterThan(0);
    for (const file of Object.values(dataset.parts).flat()) {
      expect(file.path).toMatch(/^[\w.*-]+\/[\w.*-]+(\/[\w.*-]+)?$/);
      if (file.sha256 !== undefined) expect(file.sha256).toMatch(/^[0-9a-f]{64}$/);
      if (dataset.source.host === "none") expect([name, file.at]).toEqual([name, undefined]);
    }
  });

  const files = Object.entries(DATASETS).flatMap(([name, { parts }]) => Object.values(parts).flat().filter((file) => file.sha256 !== undefined).map((file) => [name, file.path, file] as const));
  it.skipIf(!existsSync(SHARED)).each(files)("knows hash, bytes and rows of %s: %s (needs ../shared)", (_name, path, file) => {
    const bytes = readFileSync(join(SHARED, path));
    expect([sha256(bytes), bytes.byteLength]).toEqual([file.sha256, file.sizeBytes]);
    if (file.rows !== undefined && path.endsWith(".jsonl")) expect(bytes.toString().trimEnd().split("\n")).toHaveLength(file.rows);
  });

  it("says that neither CodeAlpaca nor an adapter trained on it is shipped", () => {
    expect(DATASETS["codealpaca-6.5k"]?.terms).toBe("May be measured on; neither it nor an adapter trained on it is shipped.");
  });
});

describe("a data set that is fetched", () => {
  it("lands in the cache, and its hash is recorded at the first download", async () => {
    expect(datasetStates("alpaca", "train", options)).toMatchObject([{ checksum: "unverified" }]);
    const [file] = await locateDataset("alpaca", undefined, options);
    expect(file).toMatchObject({ shown: "alpaca/alpaca_data.json", from: "download", checksum: "recorded" });
    expect(readFileSync(file?.path ?? "").equals(CONTENT)).toBe(true);
    expect(datasetStates("alpaca", "train", options)).toMatchObject([{ checksum: "recorded", sha256: sha256(CONTENT), path: file?.path }]);
    server.requests.length = 0;
    expect(await locateDataset("alpaca", undefined, options)).toMatchObject([{ from: "cache", checksum: "recorded" }]);
    expect(server.requests).toEqual([]);
  });

  it("is held against the recorded hash when it is fetched again, and when it lies in the cache", async () => {
    const [file] = await locateDataset("alpaca", undefined, options);
    const path = file?.path ?? "";
    writeFileSync(path, "[]");
    await expect(locateDataset("alpaca", undefined, options)).rejects.toThrow(refusal("data", /data set alpaca: .*alpaca_data.json: expected the SHA-256 .*, got .*Delete it, so that it is fetched anew/));
    rmSync(path);
    server.files[ALPACA] = Buffer.from("[1]");
    await expect(locateDataset("alpaca", undefined, options)).rejects.toThrow(refusal("resources", /download of alpaca: alpaca_data.json: .*got other content.*FEDTUNE_DATA as alpaca\/alpaca_data.json/));
    expect(existsSync(path)).toBe(false);
  });

  it("goes on after a break", async () => {
    server.spoil = (_, count) => (count === 0 ? { breakAfter: 30_000 } : undefined);
    const seen: number[] = [];
    await locateDataset("alpaca", undefined, { ...options, onProgress: (_, done) => seen.push(done) });
    expect(server.requests).toEqual([ALPACA, `${ALPACA} bytes=30000-`]);
    expect(seen.at(-1)).toBe(CONTENT.byteLength);
  });

  it("is refused where its hash is not the one that the catalog knows, packed or not", async () => {
    server.files["/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/grade_school_math/data/test.jsonl"] = Buffer.alloc(749_738, "x");
    await expect(locateDataset("gsm8k", "test", options)).rejects.toThrow(refusal("resources", /gsm8k: test.jsonl: expected 749738 bytes with the hash 3730d312f6e3.*got other content.*The source has changed/));
    server.files["/openai/human-eval/6d43fb980f9fee3c892a914eda09951f772ad10d/data/HumanEval.jsonl.gz"] = gzipSync("{}\n");
    await expect(locateDataset("humaneval", undefined, options)).rejects.toThrow(refusal("data", /data set humaneval: .*HumanEval.jsonl: expected the SHA-256 1d49078ba3e2b196…, got ca3d163bab055381/));
    expect(readdirSync(join(options.datasetFolder, "humaneval"))).toEqual([]);
  });

  it.skipIf(!existsSync(SHARED))("is unpacked where its source is packed, and held against its known hash (needs ../shared)", async () => {
    server.files["/openai/human-eval/6d43fb980f9fee3c892a914eda09951f772ad10d/data/HumanEval.jsonl.gz"] = gzipSync(readFileSync(join(SHARED, "humaneval/HumanEval.jsonl")));
    expect(await locateDataset("humaneval", undefined, options)).toMatchObject([{ from: "download", checksum: "verified" }]);
    expect(readdirSync(join(options.datasetFolder, "humaneval"))).toEqual(["HumanEval.jsonl"]);
  });

  it.each([
    [404, "data", /data set alpaca: expected a file at http.*got status 404. The source no longer has it: put the file into the folder of FEDTUNE_DATA as alpaca\/alpaca_data.json/],
    [401, "data", /that may be read, got status 401/],
    [503, "resources", /got status 503. Try again later/],
  ] as const)("is refused by name where the source answers %i", async (status, code, message) => {
    server.spoil = () => ({ status });
    await expect(locateDataset("alpaca", undefined, options)).rejects.toThrow(refusal(code, message));
  });

  it("is refused by name where nobody answers, offline, and where the user stops", async () => {
    await expect(locateDataset("alpaca", undefined, { ...options, environment: { ...options.environment, HF_HUB_OFFLINE: "1" } })).rejects.toThrow(refusal("data", /HF_HUB_OFFLINE is set\), got neither.*fedtune data get alpaca/));
    const controller = new AbortController();
    await expect(locateDataset("alpaca", undefined, { ...options, signal: controller.signal, onProgress: () => controller.abort() })).rejects.toThrow(refusal("interrupted", /download of alpaca.*goes on from what has come/));
    await server.close();
    await expect(locateDataset("alpaca", undefined, options)).rejects.toThrow(refusal("resources", /expected an answer of http.*got none \(ECONNREFUSED\).*FEDTUNE_GITHUB/));
  });
});

describe("FEDTUNE_DATA", () => {
  function withData(path: string, content: string | Uint8Array): LocateOptions {
    const folder = mkdtempSync(join(root, "data-"));
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
    return { ...options, environment: { ...options.environment, FEDTUNE_DATA: folder } };
  }

  it("names a folder whose files are used without asking anybody", async () => {
    const located = await locateDataset("alpaca", undefined, withData("alpaca/alpaca_data.json", CONTENT));
    expect(located).toMatchObject([{ from: "FEDTUNE_DATA", checksum: "unverified" }]);
    expect(server.requests).toEqual([]);
  });

  it("may hold some data sets only: others are fetched", async () => {
    expect(await locateDataset("alpaca", undefined, withData("gsm8k/train.jsonl", ""))).toMatchObject([{ from: "download" }]);
  });

  it("has a file whose hash differs refused by name, with what to do", async () => {
    await expect(locateDataset("gsm8k", "test", withData("gsm8k/test.jsonl", '{"question": "1 + 1?", "answer": "#### 2"}\n'))).rejects.toThrow(refusal("data", /data set gsm8k: .*gsm8k\/test.jsonl: expected the SHA-256 3730d312f6e34405…, got .*Put the published file there, or take this one away.*data.path/));
  });

  it("is refused where it names no folder", async () => {
    await expect(locateDataset("alpaca", undefined, { environment: { FEDTUNE_DATA: join(root, "gone") } })).rejects.toThrow(refusal("config", /FEDTUNE_DATA: expected a folder, got nothing at/));
  });

  it("is asked for where a file cannot be fetched", async () => {
    await expect(locateDataset("mmlu", undefined, options)).rejects.toThrow(refusal("data", /data set mmlu: expected the file mmlu\/mmlu.jsonl in the folder of FEDTUNE_DATA, got no folder \(FEDTUNE_DATA is not set\). It cannot be fetched: it was put together from/));
  });

  it("may hold the files of a pattern", async () => {
    const folder = mkdtempSync(join(root, "data-"));
    for (const language of ["python", "javascript", "java", "ruby", "php", "go"]) {
      const path = join(folder, "code_search_net", language, "train-00000-of-00001.parquet");
      mkdirSync(dirname(path), { recursive: true });
      copyFileSync("package.json", path);
    }
    const located = await locateDataset("code_search_net", "train", { ...options, environment: { ...options.environment, FEDTUNE_DATA: folder } });
    expect(located.map((file) => file.from)).toEqual(Array(6).fill("FEDTUNE_DATA"));
  });
});

describe("a name that is unknown", () => {
  it("gets its nearest, for data sets and for their parts", async () => {
    await expect(locateDataset("doly-15k", undefined, options)).rejects.toThrow(refusal("config", /data.name: expected a built-in data set.*got `doly-15k`. Did you mean `dolly-15k`/));
    await expect(locateDataset("gsm8k", "tset", options)).rejects.toThrow(refusal("config", /data.part: expected a part of gsm8k: train, test, shots, got `tset`. Did you mean `test`/));
  });
});
