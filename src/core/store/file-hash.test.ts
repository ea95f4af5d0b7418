import { appendFileSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { sha256 } from "../base/hash.ts";
import { hashFile } from "./file-hash.ts";

const root = mkdtempSync(join(tmpdir(), "fedtune-hash-"));
afterEach(() => {
  rmSync(join(root, "hashes"), { recursive: true, force: true });
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

const folder = join(root, "hashes");
const remembered = (): readonly string[] => {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
};

function fileOf(name: string, content: string): string {
  const path = join(root, name);
  writeFileSync(path, content);
  return path;
}

/** Hashes with a clock that is a minute ahead, so that a file just written counts as settled. */
const hashSettled = (path: string): Promise<string> => hashFile(path, { folder, now: () => new Date(statSync(path).ctimeMs + 60_000) });

test("a file is hashed once and then remembered, by its own state", async () => {
  const path = fileOf("a", "some weights");
  expect(await hashSettled(path)).toBe(sha256("some weights"));
  const [entry = ""] = remembered();
  // Another hash, remembered in due form, is believed: the file is not read a second time.
  const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
  const other = sha256("other weights");
  writeFileSync(join(folder, entry), `${other} ${sha256([realpathSync(path), dev, ino, size, mtimeNs, ctimeNs].join("\n"), other)}\n`);
  expect(await hashSettled(path)).toBe(other);
});

test("a file that changed is hashed anew, also where its size and its time of change are as before", async () => {
  const path = fileOf("b", "one");
  const { atime, mtime } = statSync(path);
  await hashSettled(path);
  writeFileSync(path, "two");
  utimesSync(path, atime, mtime);
  expect(await hashSettled(path)).toBe(sha256("two"));
  appendFileSync(path, "!");
  expect(await hashSettled(path)).toBe(sha256("two!"));
});

test("a file that was written a moment ago is not remembered", async () => {
  const path = fileOf("c", "fresh");
  expect(await hashFile(path, { folder })).toBe(sha256("fresh"));
  expect(remembered()).toEqual([]);
});

test("a damaged memory is not believed", async () => {
  const path = fileOf("d", "sound");
  await hashSettled(path);
  const [entry = ""] = remembered();
  writeFileSync(join(folder, entry), readFileSync(join(folder, entry), "utf8").replace(/^./, (c) => (c === "0" ? "1" : "0")));
  expect(await hashSettled(path)).toBe(sha256("sound"));
  writeFileSync(join(folder, entry), `${sha256("other")}\n`);
  expect(await hashSettled(path)).toBe(sha256("sound"));
});

test("a file that is not there is named", async () => {
  await expect(hashFile(join(root, "nothing"), { folder })).rejects.toMatchObject({ code: "resources", message: expect.stringContaining("nothing") as string });
});
