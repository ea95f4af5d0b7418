/**
 * Before `npm start` and `npm test`: runs `npm ci` where node_modules is missing or older than package-lock.json, else nothing.
 * Plain JavaScript without dependencies, because it runs before anything is installed, on the machine's own Node (20 or newer).
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const at = (...parts) => join(root, ...parts);
const stamp = at("node_modules", ".fedtune-installed");
const lockHash = createHash("sha256").update(readFileSync(at("package-lock.json"))).digest("hex");

if (!isInstalled()) install();
checkNode();

/** Installed from this lock file by us (the stamp), or by hand after it was written. */
function isInstalled() {
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === lockHash) return true;
  const byHand = at("node_modules", ".package-lock.json");
  return existsSync(byHand) && statSync(byHand).mtimeMs >= statSync(at("package-lock.json")).mtimeMs;
}

function install() {
  console.error("Installing what is needed into node_modules/ (npm ci; only once, about 0.8 GB on disk) …");
  const path = (process.env.PATH ?? "").split(delimiter).filter((folder) => !folder.startsWith(at("node_modules"))).join(delimiter);
  // Without ONNXRUNTIME_NODE_INSTALL=skip, npm 10 lets onnxruntime-node fetch CUDA libraries from outside the npm registry.
  const env = { ...process.env, PATH: path, ONNXRUNTIME_NODE_INSTALL: "skip" };
  const npm = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: root, env, encoding: "utf8", shell: process.platform === "win32", maxBuffer: 1 << 28 });
  if (npm.status === 0) {
    writeFileSync(stamp, lockHash);
    return;
  }
  console.error(`${npm.stdout ?? ""}${npm.stderr ?? ""}${npm.error?.message ?? ""}`.trim());
  console.error("install: expected `npm ci` to end with 0, got the log above. Check the network and the disk, then run the command again.");
  process.exit(1);
}

/** Node 24 comes from the npm package `node`, by its install script; without it the machine's Node must be new enough. */
function checkNode() {
  if (existsSync(at("node_modules", "node", "bin", process.platform === "win32" ? "node.exe" : "node"))) return;
  if (Number(process.versions.node.split(".")[0]) >= 24) return;
  console.error(`install: expected Node 24 or newer, got ${process.versions.node} and a package \`node\` whose install script did not run. Run \`npm rebuild node\` (without ignore-scripts), or install Node 24.`);
  process.exit(1);
}
