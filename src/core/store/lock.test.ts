import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import { aliveResources } from "../base/disposal.ts";
import { acquireLock } from "./lock.ts";

const root = mkdtempSync(join(tmpdir(), "fedtune-lock-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(root, "f-"));
  path = join(folder, "journal.jsonl");
});

function refusal(text: string): unknown {
  const message: unknown = expect.stringContaining(text);
  return expect.objectContaining({ code: "resources", message });
}

/** A process that takes the lock, says so, and holds it until it is killed. */
async function holder(): Promise<{ pid: number; kill: () => Promise<unknown> }> {
  const code = `import { acquireLock } from ${JSON.stringify(new URL("lock.ts", import.meta.url).href)};
    const lock = acquireLock(${JSON.stringify(path)}); console.log("held"); setInterval(() => lock, 1e6);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  return {
    pid: child.pid ?? 0,
    kill: () => {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      return ended;
    },
  };
}

test("a lock is free again once it is disposed of, and leaves no file", () => {
  const before = aliveResources("lock");
  {
    using _lock = acquireLock(path);
    expect(() => acquireLock(path)).toThrow(refusal(`process ${process.pid}, which is writing it`));
    expect(readdirSync(folder)).toHaveLength(1);
  }
  expect(readdirSync(folder)).toEqual([]);
  using _again = acquireLock(path);
  expect(aliveResources("lock")).toBe(before + 1);
});

test("a lock of a living process is refused with its number; once it is killed its lock is taken over", async () => {
  const { pid, kill } = await holder();
  expect(() => acquireLock(path)).toThrow(refusal(`got process ${pid}, which is writing it. Wait for it, or stop it (kill ${pid})`));
  await kill();
  using _lock = acquireLock(path);
  expect(readdirSync(folder)).toHaveLength(1);
});

test.skipIf(!existsSync("/proc/self/stat"))("a lock of an earlier process with a number that is in use again is taken over (needs /proc)", () => {
  writeFileSync(`${path}.lock-${process.pid}-12345-0.0@${hostname()}`, "");
  using _lock = acquireLock(path);
  expect(readdirSync(folder)).toHaveLength(1);
});

test("a lock of another machine is refused with the file to delete", () => {
  const file = `${path}.lock-7-12345-0.0@elsewhere`;
  writeFileSync(file, "");
  expect(() => acquireLock(path)).toThrow(refusal(`got process 7 on elsewhere, which is writing it. Wait for it; if it no longer runs, delete ${file}`));
  expect(existsSync(file)).toBe(true);
});

test("a lock whose folder cannot be written names the path", () => {
  expect(() => acquireLock(join(folder, "none", "x"))).toThrow(refusal(join(folder, "none", "x")));
});
