import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { sha256 } from "../base/hash.ts";
import { downloadFile, HttpStatusError, type DownloadRequest } from "./download.ts";
import { LocalServer } from "./local-server.fixture.ts";

const root = mkdtempSync(join(tmpdir(), "fedtune-download-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Large enough for several pieces; no two thousand bytes alike. */
const CONTENT = Uint8Array.from({ length: 300_007 }, (_, i) => (i * 7 + (i >> 8) * 13) & 255);

let server: LocalServer;
let folder: string;
let pauses: number[];
let request: DownloadRequest;
beforeEach(async () => {
  server = new LocalServer();
  server.files["/data/rows.jsonl"] = CONTENT;
  folder = mkdtempSync(join(root, "cache-"));
  pauses = [];
  request = { url: `${await server.listen()}/data/rows.jsonl`, path: join(folder, "rows.jsonl"), name: "rows.jsonl", pause: (ms) => Promise.resolve(pauses.push(ms)) };
});
afterEach(() => server.close());

describe("a download", () => {
  test("leaves the whole file and nothing else, and tells how much has come and how much there is", async () => {
    const seen: [number, number | undefined][] = [];
    expect(await downloadFile({ ...request, onProgress: (_, done, total) => seen.push([done, total]) })).toEqual({ sizeBytes: CONTENT.byteLength, sha256: sha256(CONTENT) });
    expect(readFileSync(request.path).equals(CONTENT)).toBe(true);
    expect(readdirSync(folder)).toEqual(["rows.jsonl"]);
    expect(seen.at(-1)).toEqual([CONTENT.byteLength, CONTENT.byteLength]);
    expect(seen.map(([done]) => done)).toEqual(seen.map(([done]) => done).toSorted((a, b) => a - b));
  });

  test("of a file that is there asks nobody", async () => {
    await downloadFile(request);
    server.requests.length = 0;
    expect(await downloadFile(request)).toBeUndefined();
    expect(server.requests).toEqual([]);
  });

  test("whose connection breaks goes on from what has come, by itself", async () => {
    server.spoil = (_, count) => (count < 2 ? { breakAfter: 100_000 } : undefined);
    expect(await downloadFile(request)).toMatchObject({ sha256: sha256(CONTENT) });
    expect(server.requests).toHaveLength(3);
    expect(server.requests.slice(1).every((r) => /bytes=[1-9]\d+-$/.test(r))).toBe(true);
    expect(pauses).toEqual([]);
  });

  test("that was given up goes on from what has come the next time", async () => {
    server.spoil = (_, count) => (count === 0 ? { breakAfter: 120_000 } : { status: 503 });
    await expect(downloadFile(request)).rejects.toThrow(HttpStatusError);
    expect(pauses).toEqual([500, 1000, 2000]);
    expect(existsSync(request.path)).toBe(false);
    server.spoil = () => undefined;
    server.requests.length = 0;
    expect(await downloadFile(request)).toMatchObject({ sha256: sha256(CONTENT) });
    expect(server.requests).toEqual(["/data/rows.jsonl bytes=120000-"]);
  });

  test("starts anew where the file has changed since, and where the server takes no ranges", async () => {
    server.spoil = (_, count) => (count === 0 ? { breakAfter: 120_000 } : undefined);
    const other = CONTENT.map((byte) => byte ^ 1);
    const attempt = downloadFile({ ...request, onProgress: () => void (server.tag = '"two"', (server.files["/data/rows.jsonl"] = other)) });
    expect(await attempt).toMatchObject({ sha256: sha256(other) });
    server.spoil = (_, count) => ({ whole: true, ...(count === 2 && { breakAfter: 120_000 }) });
    const again = { ...request, path: join(folder, "again.jsonl") };
    expect(await downloadFile(again)).toMatchObject({ sha256: sha256(other) });
  });

  test("takes a file of a length that nobody states", async () => {
    server.spoil = () => ({ unstated: true });
    expect(await downloadFile(request)).toMatchObject({ sizeBytes: CONTENT.byteLength });
  });

  test("by several at once is one download", async () => {
    const all = await Promise.all([downloadFile(request), downloadFile(request), downloadFile(request)]);
    expect(all.filter((result) => result !== undefined)).toHaveLength(1);
    expect(server.requests).toHaveLength(1);
  });

  test("that the user stops keeps what has come", async () => {
    const controller = new AbortController();
    server.spoil = (_, count) => (count === 0 ? { breakAfter: 100_000 } : undefined);
    const attempt = downloadFile({ ...request, signal: controller.signal, onProgress: () => controller.abort() });
    await expect(attempt).rejects.toThrow(/abort/i);
    expect(readdirSync(folder)).toContain("rows.jsonl.incomplete");
  });
});

describe("refused, with nothing of it kept, is", () => {
  test.each([
    ["content with another hash", { hash: sha256("other") }, /download of rows\.jsonl: expected 300007 bytes with the hash .*got other content \(.*Try again/],
    ["a file of another length", { sizeBytes: 300_000 }, /expected 300000 bytes, got 300007 bytes/],
  ])("%s", async (_, more, message) => {
    await expect(downloadFile({ ...request, ...more })).rejects.toThrow(message);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("a file that goes on beyond its length, and one that ends before it, where nobody states it", async () => {
    server.spoil = () => ({ unstated: true });
    await expect(downloadFile({ ...request, sizeBytes: 300_000 })).rejects.toThrow(/expected 300000 bytes, got more than 300000 bytes/);
    expect(readdirSync(folder)).toEqual([]);
    await expect(downloadFile({ ...request, sizeBytes: 300_100 })).rejects.toThrow(/expected 300100 bytes in all, got \d+ bytes .*goes on from there/);
  });

  test.each([401, 403, 404, 410])("an answer with status %i, at once", async (status) => {
    server.spoil = () => ({ status });
    await expect(downloadFile(request)).rejects.toMatchObject({ statusCode: status });
    expect([server.requests.length, pauses]).toEqual([1, []]);
  });

  test("a server that fails again and again, after four attempts", async () => {
    server.spoil = () => ({ status: 500 });
    await expect(downloadFile(request)).rejects.toMatchObject({ statusCode: 500 });
    expect(server.requests).toHaveLength(4);
  });

  test("an address where nobody answers", async () => {
    await server.close();
    await expect(downloadFile(request)).rejects.toThrow("fetch failed");
  });
});
