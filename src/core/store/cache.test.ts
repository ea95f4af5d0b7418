import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { sha256 } from "../base/hash.ts";
import { cachedFile, cacheFolder } from "./cache.ts";

const root = mkdtempSync(join(tmpdir(), "fedtune-cache-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(root, "f-"));
});

test("the folder is FEDTUNE_CACHE, else XDG_CACHE_HOME/fedtune, else ~/.cache/fedtune", () => {
  expect(cacheFolder({ FEDTUNE_CACHE: "/a", XDG_CACHE_HOME: "/b" })).toBe("/a");
  expect(cacheFolder({ FEDTUNE_CACHE: "", XDG_CACHE_HOME: "/b" })).toBe("/b/fedtune");
  expect(cacheFolder({})).toBe(join(homedir(), ".cache", "fedtune"));
});

describe("a cached file", () => {
  test("is made once per key, under the key's hash and extension", async () => {
    let made = 0;
    const make = async (path: string): Promise<void> => writeFileSync(path, `content ${++made}`);
    const path = await cachedFile("one", make, { folder, extension: ".bin" });
    expect(path).toBe(join(folder, `${sha256("one")}.bin`));
    expect(await cachedFile("one", make, { folder, extension: ".bin" })).toBe(path);
    expect(readFileSync(path, "utf8")).toBe("content 1");
    expect(await cachedFile("two", make, { folder, extension: ".bin" })).not.toBe(path);
    expect(made).toBe(2);
    expect(readdirSync(folder)).toHaveLength(2);
  });

  test("that cannot be made leaves nothing, and may be tried again", async () => {
    const failing = async (path: string): Promise<void> => {
      writeFileSync(path, "half");
      throw new Error("no weights");
    };
    await expect(cachedFile("one", failing, { folder })).rejects.toThrow("no weights");
    expect(readdirSync(folder)).toEqual([]);
    expect(readFileSync(await cachedFile("one", async (path) => writeFileSync(path, "whole"), { folder }), "utf8")).toBe("whole");
  });

  test("is made by one of several callers at once, and the others wait for it", async () => {
    let made = 0;
    const gate = Promise.withResolvers<undefined>();
    const make = async (path: string): Promise<void> => {
      made++;
      await gate.promise;
      writeFileSync(path, "whole");
    };
    const calls = [cachedFile("one", make, { folder }), cachedFile("one", make, { folder }), cachedFile("one", make, { folder })];
    gate.resolve(undefined);
    expect(new Set(await Promise.all(calls)).size).toBe(1);
    expect(made).toBe(1);
  });

  test("is made by one of several processes at once", async () => {
    const code = `import { cachedFile } from ${JSON.stringify(new URL("cache.ts", import.meta.url).href)};
      import { appendFileSync, writeFileSync } from "node:fs";
      const path = await cachedFile("one", async (temporary) => {
        appendFileSync(${JSON.stringify(join(folder, "makers"))}, "x");
        await new Promise((done) => setTimeout(done, 100));
        writeFileSync(temporary, "whole");
      }, { folder: ${JSON.stringify(folder)} });
      console.log(path);`;
    const run = async (): Promise<string> => {
      const child = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
      let out = "";
      child.stdout.on("data", (data) => (out += String(data)));
      await once(child, "close");
      return out.trim();
    };
    const paths = await Promise.all([run(), run(), run(), run()]);
    expect(new Set(paths)).toEqual(new Set([join(folder, sha256("one"))]));
    expect(readFileSync(join(folder, "makers"), "utf8")).toBe("x");
    expect(readdirSync(folder).sort()).toEqual([sha256("one"), "makers"].sort());
  });

  test("sweeps away what a dead maker left", async () => {
    writeFileSync(join(folder, `${sha256("one")}.tmp-1-0-0`), "half");
    writeFileSync(join(folder, `${sha256("one")}.lock-999999999-5-0.0@${(await import("node:os")).hostname()}`), "");
    await cachedFile("one", async (path) => writeFileSync(path, "whole"), { folder });
    expect(readdirSync(folder)).toEqual([sha256("one")]);
  });

  test("in a folder that cannot be written is refused with its path", async () => {
    writeFileSync(join(folder, "file"), "");
    const message: unknown = expect.stringContaining(join(folder, "file", "x"));
    await expect(cachedFile("one", async () => undefined, { folder: join(folder, "file", "x") })).rejects.toThrow(expect.objectContaining({ code: "resources", message }));
  });
});
