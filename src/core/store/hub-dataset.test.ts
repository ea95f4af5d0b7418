import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { sha256 } from "../base/hash.ts";
import { fetchHubFiles, parseHubReference } from "./hub-dataset.ts";
import type { HubOptions } from "./hub-repository.ts";
import { LocalServer } from "./local-server.fixture.ts";

const root = mkdtempSync(join(tmpdir(), "fedtune-hub-data-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const SMALL = Buffer.from('{"instruction":"a","output":"b"}\n');
const LARGE = [Buffer.alloc(200_003, "x"), Buffer.alloc(100_003, "y")] as const;

function entry(path: string, content: Uint8Array, large: boolean): object {
  const oid = createHash("sha1").update(`blob ${content.byteLength}\0`).update(content).digest("hex");
  return { type: "file", path, size: content.byteLength, ...(large ? { oid: "f".repeat(40), lfs: { oid: sha256(content), size: content.byteLength, pointerSize: 130 } } : { oid }) };
}

let hub: LocalServer;
let options: HubOptions;
beforeEach(async () => {
  hub = new LocalServer();
  hub.json["/api/datasets/owner/rows/revision/main"] = { _id: "1", id: "owner/rows", sha: COMMIT, lastModified: "2026-01-01T00:00:00.000Z" };
  hub.json[`/api/datasets/owner/rows/revision/refs/convert/parquet`] = hub.json["/api/datasets/owner/rows/revision/main"];
  hub.json[`/api/datasets/owner/rows/tree/${COMMIT}`] = [entry("rows.jsonl", SMALL, false), { type: "directory", path: "data", size: 0, oid: "e".repeat(40) }];
  hub.json[`/api/datasets/owner/rows/tree/${COMMIT}/data`] = [entry("data/train-0.parquet", LARGE[0], true), entry("data/train-1.parquet", LARGE[1], true), entry("data/test-0.parquet", SMALL, false)];
  const at = `/datasets/owner/rows/resolve/${COMMIT}`;
  hub.files = { [`${at}/rows.jsonl`]: SMALL, [`${at}/data/train-0.parquet`]: LARGE[0], [`${at}/data/train-1.parquet`]: LARGE[1] };
  options = { endpoint: await hub.listen(), cacheFolder: mkdtempSync(join(root, "cache-")), environment: { HF_HOME: join(root, "nobody") }, pause: () => Promise.resolve() };
});
afterEach(() => hub.close());

const rows = parseHubReference("hub:owner/rows/rows.jsonl");
const parts = parseHubReference("hub:owner/rows@main/data/train-*.parquet");

function refusal(code: string, message: RegExp): unknown {
  const text: unknown = expect.stringMatching(message);
  return expect.objectContaining({ code, message: text });
}

describe("a reference to a data set of the Hub", () => {
  test("has a revision or means main, and a slash in the revision is written %2F", () => {
    expect(rows).toEqual({ name: "owner/rows", revision: "main", file: "rows.jsonl" });
    expect(parseHubReference("hub:owner/rows@refs%2Fconvert%2Fparquet/default/train/0000.parquet")).toEqual({ name: "owner/rows", revision: "refs/convert/parquet", file: "default/train/0000.parquet" });
  });

  test.each(["hub:rows/rows.jsonl", "hub:owner/rows", "hub:owner/rows@main", "hub:owner/rows/../x", "hub:owner/rows/*/x.jsonl", "hub:owner--x/rows/a", "hub:/a/b"])("of another form is refused: %s", (text) => {
    expect(() => parseHubReference(text)).toThrow(refusal("config", /expected hub:owner\/name@revision\/file/));
  });
});

describe("files of a data set of the Hub", () => {
  test("arrive in Hugging Face's cache layout, checked by the hashes that the Hub states", async () => {
    const { commit, files } = await fetchHubFiles(rows, options);
    expect([commit, files.map((f) => f.name)]).toEqual([COMMIT, ["rows.jsonl"]]);
    expect(readFileSync(files[0]?.path ?? "").equals(SMALL)).toBe(true);
    expect(files[0]?.path).toBe(join(options.cacheFolder ?? "", "datasets--owner--rows", "snapshots", COMMIT, "rows.jsonl"));
  });

  test("are all those that a pattern fits, in the order of their names", async () => {
    const { files } = await fetchHubFiles(parts, options);
    expect(files.map((f) => f.name)).toEqual(["data/train-0.parquet", "data/train-1.parquet"]);
    expect(files.map((f) => readFileSync(f.path).byteLength)).toEqual([200_003, 100_003]);
  });

  test("are not fetched twice, and are used from the cache where nobody answers or HF_HUB_OFFLINE is set", async () => {
    const first = await fetchHubFiles(rows, options);
    hub.requests.length = 0;
    expect(await fetchHubFiles(rows, options)).toEqual(first);
    expect(hub.requests.filter((path) => path.includes("/resolve/"))).toEqual([]);
    await hub.close();
    expect(await fetchHubFiles(rows, options)).toEqual(first);
    expect(await fetchHubFiles(rows, { ...options, environment: { HF_HUB_OFFLINE: "1" } })).toEqual(first);
  });

  test("whose download breaks go on from what has come", async () => {
    hub.spoil = (path, count) => (path.endsWith("train-0.parquet") && count === 0 ? { breakAfter: 90_000 } : undefined);
    const { files } = await fetchHubFiles(parts, options);
    expect(files).toHaveLength(2);
    expect(hub.requests.filter((path) => path.includes("train-0.parquet bytes="))).toHaveLength(1);
  });

  test("are asked for with the token, of a branch with a slash too", async () => {
    await fetchHubFiles({ ...rows, revision: "refs/convert/parquet" }, { ...options, token: "hf_x" });
    expect(new Set(hub.tokens)).toEqual(new Set(["Bearer hf_x"]));
  });
});

describe("refused by name is", () => {
  test("a file that the data set lacks, with those that it has", async () => {
    await expect(fetchHubFiles(parseHubReference("hub:owner/rows/data/valid-*.parquet"), options)).rejects.toThrow(refusal("data", /data set owner\/rows on the Hub: expected a file data\/valid-\*\.parquet at revision main, got only data\/train-0\.parquet, .*Check the path/));
  });

  test("a data set that nobody has", async () => {
    await expect(fetchHubFiles(parseHubReference("hub:owner/rosw/rows.jsonl"), options)).rejects.toThrow(refusal("data", /data set owner\/rosw: expected a data set on http.*got none \(status 404 at revision main\).*Check the spelling/));
  });

  test("a data set that may not be read, with what to do", async () => {
    hub.spoil = () => ({ status: 401 });
    await expect(fetchHubFiles(rows, options)).rejects.toThrow(refusal("data", /gated data set ask for access at http:.*\/datasets\/owner\/rows and set HF_TOKEN/));
  });

  test.each([[429, /too many requests/], [503, /got status 503.*Try again later, or download the file/]])("a Hub that answers %i", async (status, message) => {
    hub.spoil = () => ({ status });
    await expect(fetchHubFiles(rows, options)).rejects.toThrow(refusal("resources", message));
  });

  test("a Hub that answers 503 to the file alone, after several attempts", async () => {
    hub.spoil = (path) => (path.includes("/resolve/") ? { status: 503 } : undefined);
    await expect(fetchHubFiles(rows, options)).rejects.toThrow(refusal("resources", /got status 503/));
    expect(hub.requests.filter((path) => path.includes("/resolve/"))).toHaveLength(4);
  });

  test.each([
    ["other content than the Hub lists", Buffer.alloc(LARGE[0].byteLength, "z"), /download of data\/train-0\.parquet: .*got other content/],
    ["fewer bytes than the Hub lists", LARGE[0].subarray(5), /expected 200003 bytes .*got 199998 bytes/],
  ])("%s", async (_, content, message) => {
    hub.spoil = (path) => (path.includes("train-0") ? { content } : undefined);
    await expect(fetchHubFiles(parts, options)).rejects.toThrow(refusal("resources", message));
  });
});
