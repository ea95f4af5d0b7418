import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { sha256 } from "../base/hash.ts";
import { tensor } from "../base/tensor.ts";
import { openCheckpoint } from "../formats/checkpoint.ts";
import { encodeSafetensors } from "../formats/safetensors-writer.ts";
import { resolveModelFolder, type ResolveModelOptions } from "./hub.ts";

const root = mkdtempSync(join(tmpdir(), "fedtune-hub-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const weights = encodeSafetensors(new Map([["norm", tensor("float32", [3], Float32Array.of(1.5, 2.5, 3.5))]]), { format: "pt" });
const MODEL: Readonly<Record<string, Uint8Array>> = {
  "config.json": Buffer.from('{"model_type":"llama"}'),
  "tokenizer.json": Buffer.from('{"version":"1.0"}'),
  "model.safetensors": weights,
  "consolidated.safetensors": weights,
  "pytorch_model.bin": Buffer.from("PK"),
  "README.md": Buffer.from("# a model"),
};

/** As much of the Hub as fedtune asks of it, for the model owner/model; `spoil` changes what it answers to a path. */
class FakeHub {
  readonly requests: string[] = [];
  readonly tokens = new Set<string | undefined>();
  files: Readonly<Record<string, Uint8Array>> = MODEL;
  spoil: (path: string) => { readonly status?: number; readonly content?: Uint8Array } | undefined = () => undefined;
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? "/", "http://hub");
      this.requests.push(pathname);
      this.tokens.add(request.headers.authorization);
      const spoilt = this.spoil(pathname);
      const json = (status: number, value: unknown): void => void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
      if (spoilt?.status !== undefined) return json(spoilt.status, { error: "as the test wants it" });
      if (/^\/api\/models\/owner\/model\/revision\/(main|a%2Fbranch)$/.test(pathname)) return json(200, { _id: "1", id: "owner/model", sha: COMMIT, lastModified: "2026-01-01T00:00:00.000Z" });
      if (pathname === `/api/models/owner/model/tree/${COMMIT}`) return json(200, Object.entries(this.files).map(([path, content]) => this.entry(path, content)));
      const path = pathname.startsWith(`/owner/model/resolve/${COMMIT}/`) ? pathname.split("/").at(-1) : undefined;
      const content = path === undefined ? undefined : (spoilt?.content ?? this.files[path]);
      if (content === undefined) return json(404, { error: "Repository not found" });
      const headers = { etag: '"e"', "x-repo-commit": COMMIT, "accept-ranges": "bytes" };
      if (request.headers.range === "bytes=0-0") response.writeHead(206, { ...headers, "content-range": `bytes 0-0/${content.byteLength}` }).end(content.subarray(0, 1));
      else response.writeHead(200, headers).end(content);
    });
  }

  private entry(path: string, content: Uint8Array): object {
    const oid = createHash("sha1").update(`blob ${content.byteLength}\0`).update(content).digest("hex");
    const large = path.endsWith(".safetensors") ? { lfs: { oid: sha256(content), size: content.byteLength, pointerSize: 130 }, oid: "f".repeat(40) } : { oid };
    return { type: "file", path, size: content.byteLength, ...large };
  }

  async listen(): Promise<string> {
    await new Promise<void>((done) => this.#server.listen(0, "127.0.0.1", done));
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}

let hub: FakeHub;
let options: ResolveModelOptions & { readonly cacheFolder: string };
beforeEach(async () => {
  hub = new FakeHub();
  options = { endpoint: await hub.listen(), cacheFolder: mkdtempSync(join(root, "cache-")), environment: { HF_HOME: join(root, "nobody") }, pause: () => Promise.resolve() };
});
afterEach(() => hub.close());

function refusal(code: string, message: RegExp): unknown {
  const text: unknown = expect.stringMatching(message);
  return expect.objectContaining({ code, message: text });
}

describe("a path", () => {
  test("of a folder that exists is returned as given, and nobody is asked", async () => {
    const folder = join(root, "owner", "model");
    mkdirSync(folder, { recursive: true });
    expect(await resolveModelFolder(folder, options)).toBe(folder);
    expect(hub.requests).toEqual([]);
  });

  test.each(["./none", "../none", "/none/at/all", "a/b/c", "none", "owner/../model", "owner\\model"])("that does not exist is refused, and nobody is asked: %s", async (path) => {
    await expect(resolveModelFolder(path, options)).rejects.toThrow(refusal("model", new RegExp(`expected a model's folder, or a Hub id.*got no folder ${resolve(path).replaceAll("\\", "\\\\")}`)));
    expect(hub.requests).toEqual([]);
  });

  test("of a file is refused", async () => {
    writeFileSync(join(root, "model.safetensors"), weights);
    await expect(resolveModelFolder(join(root, "model.safetensors"), options)).rejects.toThrow(refusal("model", /expected a folder, got a file/));
  });
});

describe("a model of the Hub", () => {
  test("arrives in Hugging Face's cache layout, with what fedtune reads and nothing else", async () => {
    const seen: [string, number, number | undefined][] = [];
    const folder = await resolveModelFolder("owner/model", { ...options, onProgress: (...progress) => seen.push(progress) });
    expect(folder).toBe(join(options.cacheFolder, "models--owner--model", "snapshots", COMMIT));
    expect(readdirSync(folder).sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
    expect(lstatSync(join(folder, "model.safetensors")).isSymbolicLink()).toBe(true);
    expect(existsSync(join(options.cacheFolder, "models--owner--model", "blobs", sha256(weights)))).toBe(true);
    expect(readFileSync(join(options.cacheFolder, "models--owner--model", "refs", "main"), "utf8")).toBe(COMMIT);
    expect(openCheckpoint(folder).read("norm").data).toEqual(Float32Array.of(1.5, 2.5, 3.5));
    expect(seen.at(-1)).toEqual(["model.safetensors", weights.byteLength, weights.byteLength]);
  });

  test("is not fetched a second time, and one that is known by its commit is not even asked for", async () => {
    const folder = await resolveModelFolder("owner/model", options);
    hub.requests.length = 0;
    expect(await resolveModelFolder("owner/model", options)).toBe(folder);
    expect(hub.requests.filter((path) => path.includes("/resolve/"))).toEqual([]);
    hub.requests.length = 0;
    expect(await resolveModelFolder("owner/model", { ...options, revision: COMMIT })).toBe(folder);
    expect(hub.requests).toEqual([]);
  });

  test("of another commit with the same files is linked to the blobs that are there", async () => {
    const folder = await resolveModelFolder("owner/model", options);
    rmSync(join(folder, ".."), { recursive: true });
    hub.requests.length = 0;
    expect(openCheckpoint(await resolveModelFolder("owner/model", options)).names).toEqual(["norm"]);
    expect(hub.requests.filter((path) => path.includes("/resolve/"))).toEqual([]);
  });

  test("is used from the cache where the network fails or HF_HUB_OFFLINE is set", async () => {
    const folder = await resolveModelFolder("owner/model", options);
    await hub.close();
    expect(await resolveModelFolder("owner/model", options)).toBe(folder);
    expect(await resolveModelFolder("owner/model", { ...options, environment: { HF_HUB_OFFLINE: "1" } })).toBe(folder);
  });

  test("of a branch whose name has a slash keeps its reference under that name", async () => {
    await resolveModelFolder("owner/model", { ...options, revision: "a/branch" });
    expect(readFileSync(join(options.cacheFolder, "models--owner--model", "refs", "a", "branch"), "utf8")).toBe(COMMIT);
  });

  test("is asked for with the token of the environment, or of the token file", async () => {
    await resolveModelFolder("owner/model", { ...options, environment: { HF_TOKEN: "hf_one" } });
    expect(hub.tokens).toEqual(new Set(["Bearer hf_one"]));
    hub.tokens.clear();
    writeFileSync(join(root, "token"), "hf_two\n");
    await resolveModelFolder("owner/model", { ...options, environment: { HF_HOME: root } });
    expect(hub.tokens).toEqual(new Set(["Bearer hf_two"]));
  });

  test("that was cut off on the way is fetched anew the next time", async () => {
    hub.spoil = (path) => (path.endsWith("model.safetensors") ? { content: weights.subarray(0, 50) } : undefined);
    await expect(resolveModelFolder("owner/model", options)).rejects.toThrow(refusal("resources", new RegExp(`download of model\\.safetensors: expected ${weights.byteLength} bytes .*got 50 bytes`)));
    hub.spoil = () => undefined;
    expect(openCheckpoint(await resolveModelFolder("owner/model", options)).names).toEqual(["norm"]);
  });

  test("whose bytes are not those that the Hub lists is refused, and nothing of it is kept", async () => {
    const other = Uint8Array.from(weights).fill(7, weights.byteLength - 3);
    hub.spoil = (path) => (path.endsWith("model.safetensors") ? { content: other } : undefined);
    await expect(resolveModelFolder("owner/model", options)).rejects.toThrow(refusal("resources", /got other content/));
    expect(readdirSync(join(options.cacheFolder, "models--owner--model", "blobs"))).toHaveLength(2);
    hub.spoil = (path) => (path.endsWith("config.json") ? { content: Buffer.from('{"model_type":"lIama"}') } : undefined);
    await expect(resolveModelFolder("owner/model", { ...options, cacheFolder: join(root, "fresh") })).rejects.toThrow(refusal("resources", /download of config\.json: .*got other content/));
  });
});

describe("refused in one sentence with what to do is", () => {
  test("a model or folder that nobody has", async () => {
    await expect(resolveModelFolder("owner/modle", options)).rejects.toThrow(refusal("model", /model owner\/modle: expected a folder .*owner\/modle or a model on http.*got neither.*Check the spelling/));
  });

  test("a model that may not be read, with and without a token", async () => {
    hub.spoil = () => ({ status: 401 });
    await expect(resolveModelFolder("owner/model", options)).rejects.toThrow(refusal("model", /got status 401 without an access token.*set HF_TOKEN/));
    await expect(resolveModelFolder("owner/model", { ...options, token: "hf_x" })).rejects.toThrow(refusal("model", /got status 401 with an access token.*Ask for access/));
  });

  test("a Hub that does not answer", async () => {
    await hub.close();
    await expect(resolveModelFolder("owner/model", options)).rejects.toThrow(refusal("resources", /or an answer of http.*got neither \(ECONNREFUSED\).*Check the network/));
  });

  test.each([[429, /too many requests/], [503, /got status 503.*Try again later/]])("a Hub that answers %i", async (status, message) => {
    hub.spoil = () => ({ status });
    await expect(resolveModelFolder("owner/model", options)).rejects.toThrow(refusal("resources", message));
  });

  test("a model without safetensors, before anything is fetched", async () => {
    hub.files = { "config.json": Buffer.from("{}"), "pytorch_model.bin": Buffer.from("PK") };
    await expect(resolveModelFolder("owner/model", options)).rejects.toThrow(refusal("model", /expected weights as safetensors, got only pytorch_model\.bin/));
    expect(hub.requests.filter((path) => path.includes("/resolve/"))).toEqual([]);
  });

  test("a model that the cache lacks, offline", async () => {
    await expect(resolveModelFolder("owner/model", { ...options, environment: { HF_HUB_OFFLINE: "1" } })).rejects.toThrow(refusal("model", /HF_HUB_OFFLINE is set\), got none/));
    expect(hub.requests).toEqual([]);
  });

  test("a token that is none, without showing it", async () => {
    const attempt = resolveModelFolder("owner/model", { ...options, token: "secret" });
    await expect(attempt).rejects.toThrow(refusal("config", /begins with "hf_", got one of 6 characters/));
    await expect(attempt).rejects.not.toThrow("secret");
  });

  test("a revision that would leave the cache", async () => {
    await expect(resolveModelFolder("owner/model", { ...options, revision: "../../x" })).rejects.toThrow(refusal("config", /got "\.\.\/\.\.\/x"/));
  });

  test("a download that the user stops", async () => {
    const controller = new AbortController();
    hub.spoil = (path) => (path.includes("/tree/") ? (controller.abort(), undefined) : undefined);
    await expect(resolveModelFolder("owner/model", { ...options, signal: controller.signal })).rejects.toThrow(refusal("interrupted", /download of owner\/model/));
  });
});
