/** fedtune as its users have it: built, and lying in a `node_modules`. From source each thread strips types, which takes memory and time. */
import { spawnSync } from "node:child_process";
import { cpSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

const manifest = z.looseObject({ files: z.array(z.string()) });

/**
 * Builds the package of `root` and copies what it publishes below `folder`, in place of what is installed there; it must lie in `root`, whose
 * dependencies it finds. Returns the path of the command's script. Throws where the build fails.
 */
export function installPackage(root: string, folder: string): string {
  const { status, stderr, stdout } = spawnSync(process.execPath, [join(root, "tools", "build.ts")], { cwd: root, encoding: "utf8" });
  if (status !== 0) throw new Error(`npm run build: expected exit code 0, got ${status}.\n${stdout}${stderr}`);
  const installed = join(folder, "node_modules", "fedtune");
  rmSync(installed, { recursive: true, force: true });
  for (const path of ["package.json", ...manifest.parse(JSON.parse(readFileSync(join(root, "package.json"), "utf8"))).files]) cpSync(join(root, path), join(installed, path), { recursive: true });
  return join(installed, "bin", "fedtune.mjs");
}
