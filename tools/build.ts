/** `npm run build`: src/ → dist/ as JavaScript with declarations, plus the generated and other files that tsc does not carry. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { globSync } from "tinyglobby";

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = join(root, "dist");

rmSync(dist, { recursive: true, force: true });
const tsc = spawnSync(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
if (tsc.status !== 0) process.exit(1);

/** Everything in src/ that is not TypeScript (generated JavaScript with its declarations, scripts and styles of pages). */
const carried = globSync("**/*", { cwd: join(root, "src") }).filter((path) => path.endsWith(".d.ts") || !/\.(ts|proto)$/.test(path));
for (const path of carried) {
  mkdirSync(dirname(join(dist, path)), { recursive: true });
  cpSync(join(root, "src", path), join(dist, path));
}
console.log(`dist/: built, ${carried.length} files carried over`);
