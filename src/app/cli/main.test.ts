/** The command line as a real process. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packagePath } from "./package-root.ts";

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "fedtune-cli-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const fedtune = (...args: string[]): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const child = spawn(packagePath("node_modules/.bin/node"), [packagePath("bin/fedtune.mjs"), ...args], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });

const COMMANDS = ["demo", "run", "resume", "report", "data", "partition", "evaluate", "generate", "chat", "api", "export", "bench"];

test("help lists every command and the exit codes, within 80 columns", async () => {
  const { code, stdout, stderr } = await fedtune("--help");
  expect([code, stderr]).toEqual([0, ""]);
  for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, "m"));
  expect(stdout).toContain("130 interrupted");
  for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
});

test.each(COMMANDS)("%s has help with examples and --json", async (name) => {
  const { code, stdout } = await fedtune(name, "--help");
  expect(code).toBe(0);
  expect(stdout).toMatch(/Examples:\n {2}\$ .*fedtune /);
  expect(stdout).toContain("--json");
});

test("without a command the help is shown, and it counts as wrong use", async () => {
  const { code, stdout } = await fedtune();
  expect(code).toBe(2);
  expect(stdout).toContain("Usage: fedtune");
});

test.each([
  ["a misspelt command", ["rnu", "x.yaml"], /^error fedtune: expected a command .*, got `rnu`\. Did you mean `run`\?\n$/],
  ["a misspelt option", ["report", "--otu", "x"], /^error fedtune report: .*got the option `--otu`\. Did you mean `--out`\?\n$/],
  ["a misspelt option with its value", ["generate", "--modle=x"], /Did you mean `--model`\?\n$/],
  ["a missing argument", ["resume"], /^error fedtune resume: expected the argument <run>, got none\. See `fedtune resume --help`\.\n$/],
  ["a missing value", ["report", "x", "--out"], /expected a value for --out/],
  ["a surplus argument", ["resume", "a", "b"], /^error fedtune resume: expected no more arguments/],
  ["a value out of range", ["generate", "--model", "m", "--prompt", "p", "--top-p", "1.5"], /^error fedtune generate --top-p: expected a number of at most 1, got `1\.5`/],
  ["a value that is no number", ["generate", "--model", "m", "--prompt", "p", "--seed", ""], /^error fedtune generate --seed: expected a number, got ``/],
  ["a missing option", ["chat"], /^error fedtune chat --model: expected a model folder or a Hub id, got nothing/],
  ["an evaluation without a model", ["evaluate", "mmlu"], /^error fedtune evaluate --model: expected a model folder or a Hub id, got nothing/],
  ["an unknown benchmark", ["evaluate", "mmlu", "humanevl", "--model", "m"], /^error benchmark: expected one of .*, got `humanevl`\. /],
  ["a benchmark's setting that does not exist", ["evaluate", "mmlu", "--model", "m", "shot=3"], /^error mmlu\.shot: expected a setting of mmlu that exists, got `shot`\. Did you mean `shots`\?\n$/],
  ["a benchmark's setting out of range", ["evaluate", "mmlu", "gsm8k", "--model", "m", "mmlu.shots=6"], /^error mmlu\.shots: expected at most 5, got `6`/],
  ["an open address without a key", ["api", "m", "--host", "0.0.0.0"], /^error fedtune api --host: expected a key .*, got 0\.0\.0\.0 without one\. Give --api-key/],
  ["two adapters of one name", ["api", "m", "--adapter", "runs/a/adapter", "b/a"], /^error fedtune api --adapter: expected names that differ, got `a` twice/],
  ["options that exclude each other", ["export", "x", "--peft", "--merged", "--out", "y"], /^error fedtune export: expected one of --peft, --merged and --unmerge, got --merged and --peft/],
])("%s is one line on stderr and exit code 2", async (_what, args, message) => {
  const { code, stdout, stderr } = await fedtune(...args);
  expect(stderr).toMatch(message);
  expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  expect([code, stdout]).toEqual([2, ""]);
});

test("with --json an error is one JSON line on stdout", async () => {
  const { code, stdout, stderr } = await fedtune("rnu", "--json");
  expect([code, stderr]).toEqual([2, ""]);
  expect(stdout.trimEnd().split("\n")).toHaveLength(1);
  expect(JSON.parse(stdout)).toMatchObject({ type: "error", code: "config", exitCode: 2 });
});

test("evaluate asks a model, writes every answer, and prints figures for machines", async () => {
  writeFileSync(join(folder, "quiz.jsonl"), ["The dog was", "Lily saw a", "Tom ran to the"].map((question, i) => `${JSON.stringify({ question, choices: ["happy", "bird", "park"], answer: i })}\n`).join(""));
  const { code, stdout, stderr } = await fedtune("evaluate", "multiple-choice", "path=quiz.jsonl", "--model", packagePath("assets/stories260k"), "--limit", "2", "--out", "answers", "--json");
  expect([code, stderr]).toEqual([0, ""]);
  const result = JSON.parse(stdout) as { readonly answers: string };
  expect(result).toMatchObject({ type: "evaluated", benchmark: "multiple-choice", questions: 3, asked: 2, figures: [{ name: "accuracy", interval: "wilson", questions: 2 }], seconds: expect.any(Number) });
  const lines = readFileSync(join(folder, "answers/multiple-choice.jsonl"), "utf8").trimEnd().split("\n");
  expect(lines).toHaveLength(2);
  for (const line of lines) expect(JSON.parse(line)).toMatchObject({ prompt: expect.any(String), outputs: expect.any(Array), parsed: expect.any(Number), scores: { correct: expect.any(Number) } });
}, 60_000);

test("evaluate --list names every benchmark with its settings", async () => {
  const { code, stdout } = await fedtune("evaluate", "--list");
  expect(code).toBe(0);
  for (const name of ["perplexity", "gsm8k", "mmlu", "multiple-choice", "code-match", "rouge-l", "response-choice"]) expect(stdout).toMatch(new RegExp(`^${name} {2}`, "m"));
  expect(stdout).toContain("  shots = 5  demonstrations before each question\n");
}, 60_000);

test("the version is the package's", async () => {
  const { code, stdout } = await fedtune("--version");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});
