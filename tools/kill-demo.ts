/**
 * `node tools/kill-demo.ts N [SEED]`: runs the demo once undisturbed, then N times killed (SIGKILL to the process group) at a
 * random instant and resumed, and compares the adapters byte by byte. The last line is `N passed, N failed`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { killAndResume, runUndisturbed } from "./kill-resume/kill-runs.ts";

const kills = Number(process.argv[2] ?? 5);
const seed = Number(process.argv[3] ?? 1);
if (!Number.isInteger(kills) || kills < 1 || !Number.isInteger(seed)) {
  console.error(`kill-demo: expected a number of kills and a seed, got ${process.argv.slice(2).join(" ")}. Run node tools/kill-demo.ts 5 1.`);
  process.exit(2);
}
const folder = mkdtempSync(join(tmpdir(), "fedtune-kill-"));
const setup = { experiment: [fileURLToPath(new URL("../assets/demo.yaml", import.meta.url))], folder, kills, seed };
let passed = 0;
try {
  const undisturbed = await runUndisturbed(setup);
  console.log(`demo undisturbed: ${undisturbed.seconds.toFixed(1)} s`);
  for (let index = 0; index < kills; index++) {
    const result = await killAndResume(setup, undisturbed, index);
    if (result.same) passed++;
    console.log(`${result.same ? "✓" : "✗"} killed after ${result.killedAtSeconds.toFixed(2)} s (met: ${result.met}), resumed: ${result.same ? "same" : "different"} bytes`);
    if (!result.same) console.log(result.output);
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${passed} passed, ${kills - passed} failed`);
process.exitCode = passed === kills ? 0 : 1;
