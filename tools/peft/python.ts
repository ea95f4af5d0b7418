/** A Python with PyTorch, transformers and PEFT: the one that FEDTUNE_PYTHON names, else a virtual environment of its own. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

/** The versions that the recorded results of PyTorch were made with. */
export const PACKAGES: readonly string[] = ["torch==2.15.0", "transformers==5.23.0", "peft==0.21.2"];

/** Path of an interpreter that can import these packages; makes the environment of that name (some gigabytes) where there is none yet. */
export function findPython({ name, packages }: { readonly name: string; readonly packages: readonly string[] } = { name: "check-peft", packages: PACKAGES }): string {
  const given = process.env["FEDTUNE_PYTHON"];
  if (given) return given;
  const folder = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "fedtune", name);
  const python = join(folder, process.platform === "win32" ? "Scripts/python.exe" : "bin/python");
  const stamp = join(folder, "installed.txt");
  const wanted = packages.join("\n");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return python;
  console.error(`Making a Python environment in ${folder} (once; some gigabytes; the folder may be removed afterwards). FEDTUNE_PYTHON names another interpreter.`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(dirname(folder), { recursive: true });
  execute(process.platform === "win32" ? "python" : "python3", ["-m", "venv", folder]);
  execute(python, ["-m", "pip", "install", "--quiet", ...packages]);
  writeFileSync(stamp, wanted);
  return python;
}

function execute(command: string, args: readonly string[]): void {
  const { status, error } = spawnSync(command, args, { stdio: ["ignore", 2, 2] });
  if (status === 0) return;
  throw new Error(`${command} ${args.join(" ")}: expected exit code 0, got ${error?.message ?? status}. Install Python 3 with venv, or set FEDTUNE_PYTHON.`);
}
