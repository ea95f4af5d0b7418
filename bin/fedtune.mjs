#!/usr/bin/env node
/**
 * Starts the command line on a Node that can run it. Plain JavaScript without imports of our own, so that an older Node can
 * still read it and say what is needed; where the package's own Node (npm package `node`) is there, hands over to that.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";

const NEEDED = 24;
const root = dirname(dirname(fileURLToPath(import.meta.url)));

if (Number(process.versions.node.split(".")[0]) >= NEEDED) await start();
else handOver();

async function start() {
  dieWithParent();
  const installed = root.split(sep).includes("node_modules") && existsSync(join(root, "dist", "app", "cli", "main.js"));
  const { main } = installed ? await import("../dist/app/cli/main.js") : await import("../src/app/cli/main.ts");
  process.exit(await main(process.argv.slice(2)));
}

/** Runs the same command on the Node that `npm install` brought; without it says in one line what is missing. */
function handOver() {
  const node = findNode();
  if (node === undefined) {
    const remedy = root.split(sep).includes("node_modules") ? `Run \`npm install node@${NEEDED}\` in your project, or use a newer Node.` : `Run \`npm install\` in ${root}: it brings Node ${NEEDED} through the npm package \`node\`.`;
    console.error(`fedtune: expected Node ${NEEDED} or newer, got ${process.versions.node}. ${remedy}`);
    process.exit(2);
  }
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...process.env, FEDTUNE_HANDED_OVER: "1" },
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`fedtune: expected ${node} to start, got ${error.message}. Run \`npm install\` in ${root} again.`);
    process.exit(2);
  });
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

/** `node_modules/.bin/node` of this package or of a folder above it, where it is new enough. */
function findNode() {
  const name = process.platform === "win32" ? "node.cmd" : "node";
  for (let folder = root; ; folder = dirname(folder)) {
    const node = join(folder, "node_modules", ".bin", name);
    if (existsSync(node)) {
      const { stdout } = spawnSync(node, ["--version"], { encoding: "utf8", shell: process.platform === "win32" });
      if (Number(/^v(\d+)/.exec(stdout ?? "")?.[1]) >= NEEDED) return node;
    }
    if (folder === dirname(folder)) return undefined;
  }
}

/** A process started by handOver ends with the one that started it, even if that was killed. */
function dieWithParent() {
  if (process.send === undefined || process.env.FEDTUNE_HANDED_OVER === undefined) return;
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
  process.channel?.unref();
}
