/**
 * `npm run bench:peers [-- --runs 5 --models smollm2-135m,minimind2-small --batch 4 --tokens 256 --steps 8]`: the LoRA step of
 * fedtune and of PyTorch, and with `--round` an empty federated round of fedtune and of Flower, one after the other in turns,
 * so that both see the same machine. Prints every run as a JSON line, then one line per pair with medians and ratios.
 * The peers are those of ../shared/bench; FEDTUNE_PYTHON names an interpreter that has their packages.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { z } from "zod";
import { findPython } from "./peft/python.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const bench = join(root, "..", "shared", "bench");
const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "5" },
    models: { type: "string", default: "smollm2-135m,minimind2-small" },
    batch: { type: "string", default: "4" },
    tokens: { type: "string", default: "256" },
    steps: { type: "string", default: "8" },
    round: { type: "boolean", default: false },
  },
});

/** A command that ends with one JSON line, and the fields of it that are compared. */
interface Contestant {
  readonly name: string;
  readonly command: readonly string[];
}

if (!existsSync(bench)) {
  console.error(`bench-peers: expected the peers in ../shared/bench, got no such folder. Put it beside the project.`);
  process.exit(2);
}
const python = findPython();
const fedtune = [process.execPath, join(root, "bin", "fedtune.mjs"), "bench"];
const size = ["--batch", values.batch, "--tokens", values.tokens, "--steps", values.steps];
for (const model of values.models.split(",").filter((name) => name !== "")) {
  compare(`step ${model}`, { fields: ["median_step_ms", "tokens_per_s", "peak_rss_mb"] }, [
    { name: "pytorch", command: [python, join(bench, "peer_torch.py"), "--model", model, ...size] },
    { name: "fedtune", command: [...fedtune, "step", "--model", model, "--precision", "float32", ...size, "--json"] },
  ]);
}
if (values.round) {
  compare("round of 32 clients that train nothing", { fields: ["median_round_s"] }, [
    { name: "flower", command: [python, join(bench, "peer_flower.py"), "--clients", "32", "--steps", "0"] },
    { name: "fedtune", command: [...fedtune, "round", "--clients", "32", "--json"] },
  ]);
}

/** Runs the contestants in turns and prints each one's medians, and the ratio of the last to the first. */
function compare(what: string, { fields }: { readonly fields: readonly string[] }, contestants: readonly Contestant[]): void {
  const results = new Map(contestants.map(({ name }) => [name, new Map(fields.map((field) => [field, [] as number[]]))]));
  for (let run = 0; run < Number(values.runs); run++) {
    for (const { name, command } of contestants) {
      const result = execute(command);
      console.log(JSON.stringify({ what, contestant: name, ...result }));
      for (const field of fields) results.get(name)?.get(field)?.push(z.number({ error: `${name}: expected a number in ${field}` }).parse(result[field]));
    }
  }
  const medians = contestants.map(({ name }) => fields.map((field) => median(results.get(name)?.get(field) ?? [])));
  const table = Object.fromEntries(contestants.map(({ name }, i) => [name, Object.fromEntries(fields.map((field, j) => [field, medians[i]?.[j]]))]));
  const ratios = Object.fromEntries(fields.map((field, j) => [field, Number(((medians.at(-1)?.[j] ?? NaN) / (medians[0]?.[j] ?? NaN)).toFixed(3))]));
  console.log(JSON.stringify({ what, runs: Number(values.runs), medians: table, ratios, cpu: cpus()[0]?.model, cores: cpus().length, node: process.version }));
}

function execute([command = "", ...args]: readonly string[]): Record<string, unknown> {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: bench, encoding: "utf8", maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: expected exit code 0, got ${error?.message ?? status}.\n${stderr}${stdout}`);
  return z.record(z.string(), z.unknown()).parse(JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? ""));
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return ((sorted[Math.floor((sorted.length - 1) / 2)] ?? NaN) + (sorted[Math.ceil((sorted.length - 1) / 2)] ?? NaN)) / 2;
}
