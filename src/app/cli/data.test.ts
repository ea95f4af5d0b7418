/** `fedtune data` as a real process, against a server on this machine and folders of its own. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { sha256 } from "../../core/base/hash.ts";
import { LocalServer } from "../../core/store/local-server.fixture.ts";
import { packagePath } from "./package-root.ts";

const root = mkdtempSync(join(tmpdir(), "fedtune-data-cli-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

// Each test starts processes that load the whole program, on machines that may be busy.
vi.setConfig({ testTimeout: 120_000 });

const SHARED = resolve("../shared/data");
const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const ROWS = Buffer.from(Array.from({ length: 300 }, (_, i) => JSON.stringify({ question: `Print ${i}.`, answer: `print(${i})`, kind: i % 3 === 0 ? "a" : "b" })).join("\n"));
const ALPACA = "/tatsu-lab/stanford_alpaca/761dc5bfbdeeffa89b8bff5d038781a4055f796a/alpaca_data.json";

let server: LocalServer;
let environment: Record<string, string>;
beforeEach(async () => {
  server = new LocalServer();
  const endpoint = await server.listen();
  const cache = mkdtempSync(join(root, "cache-"));
  environment = { FEDTUNE_CACHE: cache, HF_HOME: join(cache, "hf"), HF_ENDPOINT: endpoint, FEDTUNE_GITHUB: endpoint, NO_COLOR: "1" };
  server.files[ALPACA] = Buffer.from(JSON.stringify([{ instruction: "a", input: "", output: "b" }]));
  server.json["/api/datasets/owner/rows/revision/main"] = { _id: "1", id: "owner/rows", sha: COMMIT, lastModified: "2026-01-01T00:00:00.000Z" };
  server.json[`/api/datasets/owner/rows/tree/${COMMIT}`] = [{ type: "file", path: "rows.jsonl", size: ROWS.byteLength, oid: createHash("sha1").update(`blob ${ROWS.byteLength}\0`).update(ROWS).digest("hex") }];
  server.files[`/datasets/owner/rows/resolve/${COMMIT}/rows.jsonl`] = ROWS;
});
afterEach(() => server.close());

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const { FEDTUNE_DATA: _own, ...INHERITED } = process.env;

function fedtune(args: readonly string[], more: Readonly<Record<string, string>> = {}): Promise<Ended> {
  return new Promise((done, reject) => {
    const child = spawn(packagePath("node_modules/.bin/node"), [packagePath("bin/fedtune.mjs"), ...args], { cwd: root, env: { ...INHERITED, ...environment, ...more }, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.once("error", reject);
    child.once("close", (code) => done({ code, stdout, stderr }));
  });
}

/** The JSON lines of an output. */
function lines(output: string): readonly Readonly<Record<string, unknown>>[] {
  return output.trim().split("\n").map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
}

describe("fedtune data", () => {
  test("list names every data set with licence and checksum, within 80 columns of table, and as JSON", async () => {
    const { code, stdout, stderr } = await fedtune(["data", "list"]);
    expect([code, stderr]).toEqual([0, ""]);
    for (const name of ["alpaca", "alpaca_cleaned", "dolly-15k", "dolly-15k-fedit10", "gsm8k", "code_search_net", "rosetta_alpaca", "codealpaca-6.5k", "humaneval-x", "mmlu", "wikitext-2", "tinyshakespeare"]) expect(stdout).toMatch(new RegExp(`^${name.replace(".", "\\.")} .*(verified|unverified)$`, "m"));
    const machine = await fedtune(["data", "list", "--json"]);
    expect(lines(machine.stdout).find((line) => line["name"] === "gsm8k")).toMatchObject({ type: "dataset", rows: 7473, here: false, checksum: "verified", pinned: true, licence: "MIT" });
    expect(server.requests).toEqual([]);
  });

  test("get fetches with progress, records the hash, and fetches nothing a second time", async () => {
    const first = await fedtune(["data", "get", "alpaca"]);
    expect(first.code).toBe(0);
    expect(first.stdout).toMatch(/^alpaca\/alpaca_data.json {2}fetched, recorded {2}/);
    expect(first.stderr).toMatch(/^alpaca: alpaca_data.json {2}100 % {2}\d+ B of \d+ B/);
    const second = await fedtune(["data", "get", "alpaca", "--json"]);
    expect(lines(second.stdout)).toMatchObject([{ type: "file", dataset: "alpaca", from: "cache", checksum: "recorded", sha256: sha256(server.files[ALPACA] ?? new Uint8Array()) }]);
    expect(server.requests).toEqual([ALPACA]);
  });

  test("get with --json tells of bytes and rate", async () => {
    const { stdout } = await fedtune(["data", "get", "hub:owner/rows/rows.jsonl", "--json"]);
    const all = lines(stdout);
    expect(all.filter((line) => line["type"] === "progress").at(-1)).toMatchObject({ doneBytes: ROWS.byteLength, totalBytes: ROWS.byteLength });
    expect(all.at(-1)).toMatchObject({ type: "file", name: "rows.jsonl", sha256: sha256(ROWS) });
  });

  test("show says all that is known of a built-in data set and fetches nothing", async () => {
    const known = await fedtune(["data", "show", "codealpaca-6.5k"]);
    expect(known.stdout.replace(/\s+/g, " ")).toContain("Licence CC-BY-NC-4.0 May be measured on; neither it nor an adapter trained on it is shipped.");
    expect(known.stdout.replace(/\s+/g, "")).toContain("sahil280114/codealpaca@2f78ddc5c682ed6738ad092bbbfa59ba915afcb0");
    expect(server.requests).toEqual([]);
  });

  test("show takes a file of one's own, and says what it cannot tell", async () => {
    writeFileSync(join(root, "own.jsonl"), ROWS);
    const own = await fedtune(["data", "show", "own.jsonl", "--json"]);
    expect(lines(own.stdout)).toMatchObject([{ type: "dataset", seen: { rows: 300, kind: "instruction", fields: { instruction: "question", output: "answer" } } }]);
    writeFileSync(join(root, "odd.jsonl"), '{"a": 1}\n');
    expect((await fedtune(["data", "show", "odd.jsonl"])).stdout.replace(/\s+/g, " ")).toContain("odd.jsonl:1: expected a field `instruction`, `messages` or `text`, got fields a.");
  });

  test("show takes a file of the Hub", async () => {
    const hub = await fedtune(["data", "show", "hub:owner/rows@main/rows.jsonl"]);
    expect([hub.code, hub.stdout.includes("Hugging Face Hub: owner/rows@main (unpinned"), hub.stdout.includes("300, each an instruction with its answer")]).toEqual([0, true, true]);
  });

  test.each([
    ["an unknown action", ["data", "lst"], 2, /fedtune data: expected list, get, show, got `lst`. Did you mean `list`/],
    ["an unknown data set", ["data", "show", "doly-15k"], 2, /data set: expected a built-in data set.*got `doly-15k`. Did you mean `dolly-15k`/],
    ["no name", ["data", "get"], 2, /fedtune data get: expected the names of data sets, got none/],
    ["a file that cannot be fetched", ["data", "get", "mmlu"], 3, /It cannot be fetched/],
  ] as const)("%s is one line on stderr", async (_, args, code, message) => {
    const ended = await fedtune(args);
    expect(ended.stderr).toMatch(message);
    expect([ended.code, ended.stdout, ended.stderr.trimEnd().split("\n").length]).toEqual([code, "", 1]);
  });
});

describe("a config that names a data set", () => {
  function config(text: string): string {
    const path = join(mkdtempSync(join(root, "config-")), "federation.yaml");
    writeFileSync(path, `model: none\n${text}`);
    return path;
  }

  test("of the Hub is fetched for the partition, with a mapping of its own", async () => {
    const file = config("data: { name: hub:owner/rows/rows.jsonl, fields: { instruction: question, output: answer, category: kind } }\npartition: { method: field, field: category }\n");
    const { code, stdout } = await fedtune(["partition", file, "--json"]);
    expect(code).toBe(0);
    const manifest = lines(stdout).at(-1) as { readonly clients: readonly { readonly name: string }[]; readonly files: readonly unknown[] };
    expect(manifest.clients.map((c) => c.name)).toEqual(["a", "b"]);
    expect(manifest.files).toEqual([{ path: "hub:owner/rows/rows.jsonl", sha256: sha256(ROWS), rows: 300 }]);
  });

  test("whose category column does not exist is refused with the columns that there are", async () => {
    const file = config("data: { name: hub:owner/rows/rows.jsonl }\npartition: { method: field, field: knid }\n");
    const { code, stderr } = await fedtune(["partition", file]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/hub:owner\/rows\/rows.jsonl: expected a field `knid` \(partition.field\), got fields question, answer, kind. Did you mean `kind`/);
  });

  test("whose file in FEDTUNE_DATA is another is refused by name", async () => {
    const folder = mkdtempSync(join(root, "data-"));
    mkdirSync(join(folder, "gsm8k"));
    writeFileSync(join(folder, "gsm8k", "train.jsonl"), '{"question": "1?", "answer": "1"}\n');
    const { code, stderr } = await fedtune(["partition", config("data: { name: gsm8k }\npartition: { method: iid, clients: 1 }\n")], { FEDTUNE_DATA: folder });
    expect(code).toBe(3);
    expect(stderr).toMatch(/data set gsm8k: .*train.jsonl: expected the SHA-256 17f347dc51477c50…, got .*take this one away so that it is fetched/);
  });

  test.skipIf(!existsSync(SHARED))("by language names what it left out (needs ../shared)", async () => {
    const file = config("data: { name: codealpaca-6.5k }\npartition: { method: field, field: language }\n");
    const { stdout } = await fedtune(["partition", file], { FEDTUNE_DATA: SHARED });
    expect(stdout).toMatch(/Left out for fewer than 100 rows: HTML \(\d+\), CSS \(\d+\), Ruby \(40\), .*; and \d+ rows whose language no rule can tell\./);
    const written = JSON.parse(readFileSync(join(root, "runs", "federation.partition.json"), "utf8")) as { readonly leastExamples: number };
    expect(written.leastExamples).toBe(100);
  });
});
