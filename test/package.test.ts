/** The package as npm would publish it: built, packed, unpacked below a node_modules folder, and used from there. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Runs a command and gives what it wrote; fails with all of it where the exit code is not 0. */
function execute(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8", shell: process.platform === "win32" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: exit code ${error?.message ?? status}\n${stdout}${stderr}`);
  return stdout;
}

describe("the packed package", () => {
  const folder = mkdtempSync(join(tmpdir(), "fedtune-package-"));
  const modules = join(folder, "node_modules");
  const bin = join(modules, "fedtune", "bin", "fedtune.mjs");

  beforeAll(() => {
    execute(process.execPath, [join(root, "tools", "build.ts")], root);
    const [tarball] = JSON.parse(execute("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], root)) as { filename: string }[];
    mkdirSync(join(modules, "fedtune"), { recursive: true });
    execute("tar", ["-xzf", join(folder, tarball?.filename ?? ""), "-C", join(modules, "fedtune"), "--strip-components=1"], folder);
    // The dependencies are those of this checkout, so that no network is needed.
    for (const name of readdirSync(join(root, "node_modules"))) if (!name.startsWith(".")) symlinkSync(join(root, "node_modules", name), join(modules, name));
    writeFileSync(join(folder, "package.json"), `{"type":"module"}`);
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("shows its help without TypeScript or devDependencies of its own", () => {
    expect(execute(process.execPath, [bin, "--help"], folder)).toContain("fedtune");
  });

  it.each(["fedtune", "fedtune/core", "fedtune/engine", "fedtune/llm", "fedtune/federation"])("can be imported as %s", (name) => {
    const script = `console.log(Object.keys(await import(${JSON.stringify(name)})).length)`;
    expect(Number(execute(process.execPath, ["--input-type=module", "--eval", script], folder))).toBeGreaterThan(0);
  });

  it("trains the demo's experiment with its own assets", { timeout: 120_000 }, () => {
    const config = join(modules, "fedtune", "assets", "demo.yaml");
    const small = ["federation.rounds=1", "training.local_steps=1", "data.max_examples_per_client=8", "compare=[federated]", "samples.prompts=[]", `output=${join(folder, "runs")}`];
    execute(process.execPath, [bin, "run", config, ...small], folder);
    const [run = ""] = readdirSync(join(folder, "runs"));
    expect(readdirSync(join(folder, "runs", run, "adapter")).toSorted()).toContain("adapter_model.safetensors");
  });
});
