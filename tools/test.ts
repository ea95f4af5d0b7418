/**
 * `npm test`: every check, one stage after another, going on after a failing one. The last line is `N passed, N failed`:
 * vitest's tests, and one for each other stage. Exit 1 where anything failed. Arguments go to vitest.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { countTests } from "./test-run/vitest-counts.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const env = { ...process.env, PATH: `${join(root, "node_modules", ".bin")}${delimiter}${process.env["PATH"] ?? ""}` };

/** Checks that pass or fail as a whole: what they are called, and the command. */
const CHECKS = [
  ["types", "tsc -p ."],
  ["lint", "oxlint --type-aware --deny-warnings"],
  ["layers", "node tools/check-layers.ts"],
  ["dead exports", "knip --no-progress"],
] as const;

let passed = 0;
let failed = 0;
for (const [name, command] of CHECKS) {
  const start = performance.now();
  const { status, stdout, stderr } = spawnSync(command, { cwd: root, env, shell: true, encoding: "utf8", maxBuffer: 1 << 28 });
  const ok = status === 0;
  console.log(`${ok ? "✓" : "✗"} ${name} (${seconds(start)})`);
  if (!ok) console.log(`${stdout}${stderr}`.trimEnd());
  if (ok) passed++;
  else failed++;
}

const start = performance.now();
const folder = mkdtempSync(join(tmpdir(), "fedtune-test-"));
const reportFile = join(folder, "report.json");
const vitest = ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${reportFile}`, ...process.argv.slice(2)];
const { status } = spawnSync("vitest", vitest, { cwd: root, env, stdio: "inherit", shell: process.platform === "win32" });
const tests = countTests(existsSync(reportFile) ? readFileSync(reportFile, "utf8") : undefined, status ?? 1);
rmSync(folder, { recursive: true });
console.log(`${tests.failed === 0 ? "✓" : "✗"} tests: ${tests.passed} passed, ${tests.failed} failed, ${tests.skipped} skipped (${seconds(start)})`);

failed += tests.failed;
console.log(`${passed + tests.passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}
