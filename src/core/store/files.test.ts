import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { fileError, withFileErrors } from "../base/file-errors.ts";
import { ensureWritableFolder, writeFileAtomic } from "./files.ts";

const root = mkdtempSync(join(tmpdir(), "fedtune-files-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(root, "f-"));
});

function refusal(text: string): unknown {
  const message: unknown = expect.stringContaining(text);
  return expect.objectContaining({ code: "resources", message });
}

describe("writeFileAtomic", () => {
  test("replaces a file whole and leaves nothing beside it", () => {
    const path = join(folder, "x");
    writeFileAtomic(path, "a long first text");
    writeFileAtomic(path, Uint8Array.of(0x68, 0x69));
    expect(readFileSync(path, "utf8")).toBe("hi");
    expect(readdirSync(folder)).toEqual(["x"]);
  });

  test("that fails names the path and leaves nothing behind", () => {
    const path = join(folder, "x");
    mkdirSync(join(path, "y"), { recursive: true });
    expect(() => writeFileAtomic(path, "text")).toThrow(refusal(`${path}: expected a file to write, got`));
    expect(readdirSync(folder)).toEqual(["x"]);
    expect(() => writeFileAtomic(join(folder, "none", "x"), "text")).toThrow(refusal("no such file or folder (ENOENT)"));
  });
});

describe("ensureWritableFolder", () => {
  test("makes a folder with its parents, and leaves nothing in it", () => {
    ensureWritableFolder(join(folder, "a", "b"));
    ensureWritableFolder(join(folder, "a", "b"));
    expect(readdirSync(join(folder, "a", "b"))).toEqual([]);
  });

  test("refuses a path that leads through a file", () => {
    writeFileSync(join(folder, "file"), "");
    expect(() => ensureWritableFolder(join(folder, "file", "a"))).toThrow(refusal(`${join(folder, "file", "a")}: expected a folder to write to, got a path that leads through a file (ENOTDIR)`));
  });
});

describe("errors of the file system", () => {
  test.each([
    ["ENOSPC", "got a full disk (ENOSPC). Free some space"],
    ["EACCES", "got permission denied (EACCES). Change the permissions"],
    ["EROFS", "got a read-only file system (EROFS). Name a folder on a disk that can be written"],
  ])("%s says what to do", (code, text) => {
    const error = fileError(Object.assign(new Error("native"), { code }), "/a/b", "a file to write");
    expect(error).toEqual(refusal(`/a/b: expected a file to write, ${text}`));
    expect(error.details).toMatchObject({ path: "/a/b", code });
  });

  test("of an unknown kind keep their own words", () => {
    expect(() => withFileErrors("/a", "a file", () => { throw new Error("odd"); })).toThrow(refusal("/a: expected a file, got odd"));
  });
});
