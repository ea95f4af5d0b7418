import { spawnSync } from "node:child_process";
import { appendFileSync, chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const script = fileURLToPath(new URL("ensure-installed.mjs", import.meta.url));

/** Stands in for npm: notes its arguments, makes what an install leaves, and ends as told. */
const NPM = `#!/bin/sh
echo "$@" >> "$CALLS"
[ -n "$FAIL" ] && { echo "npm error: the disk is full" >&2; exit 1; }
mkdir -p node_modules/node/bin && touch node_modules/node/bin/node
`;

describe.skipIf(process.platform === "win32")("before npm start and npm test", () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "fedtune-install-"));
    mkdirSync(join(folder, "tools"));
    cpSync(script, join(folder, "tools", "ensure-installed.mjs"));
    writeFileSync(join(folder, "package-lock.json"), "{}");
    mkdirSync(`${folder}-path`);
    writeFileSync(join(`${folder}-path`, "npm"), NPM);
    chmodSync(join(`${folder}-path`, "npm"), 0o755);
  });
  afterEach(() => {
    for (const path of [folder, `${folder}-path`]) rmSync(path, { recursive: true });
  });

  const calls = (): string[] => (existsSync(join(`${folder}-path`, "calls")) ? readFileSync(join(`${folder}-path`, "calls"), "utf8").trim().split("\n") : []);
  const ensure = (env: Record<string, string> = {}) => {
    const path = `${folder}-path${delimiter}${process.env["PATH"] ?? ""}`;
    return spawnSync(process.execPath, [join(folder, "tools", "ensure-installed.mjs")], { encoding: "utf8", env: { ...process.env, PATH: path, CALLS: join(`${folder}-path`, "calls"), ...env } });
  };

  it("installs from the lock file where nothing is installed, saying so in one line", () => {
    const { status, stderr } = ensure();
    expect(status).toBe(0);
    expect(calls()).toEqual([expect.stringMatching(/^ci /)]);
    expect(stderr.trim().split("\n")).toHaveLength(1);
  });

  it("does nothing and says nothing once installed", () => {
    ensure();
    const { status, stderr, stdout } = ensure();
    expect({ status, stderr, stdout }).toEqual({ status: 0, stderr: "", stdout: "" });
    expect(calls()).toHaveLength(1);
  });

  it("installs again when the lock file has changed", () => {
    ensure();
    appendFileSync(join(folder, "package-lock.json"), "\n");
    ensure();
    expect(calls()).toHaveLength(2);
  });

  it("accepts what was installed by hand after the lock file was written", () => {
    mkdirSync(join(folder, "node_modules", "node", "bin"), { recursive: true });
    writeFileSync(join(folder, "node_modules", "node", "bin", "node"), "");
    writeFileSync(join(folder, "node_modules", ".package-lock.json"), "{}");
    expect(ensure().status).toBe(0);
    expect(calls()).toEqual([]);
  });

  it("shows npm's log and fails where the installation fails, and tries again the next time", () => {
    const { status, stderr } = ensure({ FAIL: "1" });
    expect(status).toBe(1);
    expect(stderr).toContain("the disk is full");
    expect(ensure().status).toBe(0);
    expect(calls()).toHaveLength(2);
  });
});
