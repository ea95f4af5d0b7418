/** Starts fedtune as a process group of its own, so that all of it can be killed at once. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const bin = fileURLToPath(new URL("../../bin/fedtune.mjs", import.meta.url));

export interface Ended {
  /** Exit code; null where a signal ended the process. */
  readonly code: number | null;
  readonly seconds: number;
  /** What it wrote, stdout and stderr together. */
  readonly output: string;
}

/** Runs `fedtune ARGS` to its end, or kills it (SIGKILL to the whole group) `killAfterMs` after its start. */
export function runFedtune(args: readonly string[], options: { readonly cwd: string; readonly killAfterMs?: number }): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(process.execPath, [bin, ...args], { cwd: options.cwd, detached: true, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NO_COLOR: "1" } });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const timer = options.killAfterMs === undefined ? undefined : setTimeout(() => killGroup(child.pid), options.killAfterMs);
    const stop = (): void => killGroup(child.pid);
    process.once("exit", stop);
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      process.off("exit", stop);
      resolve({ code, seconds: (performance.now() - start) / 1000, output });
    });
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // The group may have ended by itself a moment ago.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}
