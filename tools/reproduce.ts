/**
 * `npm run reproduce [-- --full] [--only fed-dolly] [--page]`: the paper's comparison (FederatedScope-LLM, arXiv 2309.00363) on a model that a
 * laptop trains. Three federations, LoRA, one seed; `--full` all methods and seeds of the configs and the generation benchmarks. Works cell
 * by cell: each finished one is a JSON file under docs/results/fsllm, so that the same command goes on where it was stopped, here or
 * elsewhere. docs/results.md is written anew after each, from the cells of both forms; `--page` only writes it.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { loadMatrix, readRuns, runMatrix } from "../src/index.ts";
import type { Cell as MatrixCell } from "../src/index.ts";
import { replaceSection } from "./bench/tables.ts";
import { cellOf, nameOfCell, readCell, writeCell, type Cell } from "./reproduce/cell.ts";
import { writePage } from "./reproduce/page.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const shared = join(root, "..", "shared");
const { values } = parseArgs({
  options: {
    full: { type: "boolean", default: false },
    page: { type: "boolean", default: false },
    only: { type: "string", default: "fed-codealpaca,fed-dolly,fed-gsm8k-3" },
    model: { type: "string", default: join(shared, "models", "minimind2-small") },
    data: { type: "string", default: join(shared, "data") },
    runs: { type: "string", default: join(root, "runs", "reproduce") },
  },
});
if (!existsSync(values.model) || !existsSync(values.data)) {
  console.error("reproduce: expected ../shared/models/minimind2-small and ../shared/data beside the project, got none. Put them there, or name folders by --model and --data.");
  process.exit(2);
}
process.env["FEDTUNE_DATA"] ??= values.data;

/** Asked in the full form beside what the configs ask; the clients alone are left out, as each of them would be asked in turn. */
const GENERATION: Readonly<Record<string, readonly string[]>> = {
  "fed-codealpaca": ["{ name: humaneval, limit: 40, samples: 1, max_new_tokens: 128, compare: [base, global, federated] }"],
  "fed-dolly": ["{ name: mmlu, limit: 200, shots: 0, compare: [base, global, federated] }"],
  "fed-gsm8k-3": ["{ name: gsm8k, limit: 60, shots: 2, max_new_tokens: 128, compare: [base, global, federated] }"],
};

interface Wanted {
  readonly cell: MatrixCell;
  readonly folder: string;
}

type Form = "laptop" | "full";

/** The cells of a federation: in the laptop form LoRA under the first seed. */
function cellsOf(federation: string, form: Form): readonly Wanted[] {
  const folder = join(root, "docs", "results", "fsllm", form);
  const file = join(root, "examples", "fsllm", "laptop", `${federation}.yaml`);
  const common = [`model=${values.model}`, `output=${values.runs}`];
  const { cells } = loadMatrix(file, common);
  if (form === "laptop") return cells.filter(({ experiment: { config } }) => config.adapter.method === "lora" && config.seed === 1).map((cell) => ({ cell, folder }));
  const asked = cells[0]?.experiment.config.benchmarks ?? [];
  const more = `benchmarks=[${[...asked.map((b) => JSON.stringify(b)), ...(GENERATION[federation] ?? [])].join(", ")}]`;
  return loadMatrix(file, [...common, more]).cells.map((cell) => ({ cell, folder }));
}

const wanted = values.only.split(",").flatMap((federation) => cellsOf(federation, values.full ? "full" : "laptop")).toSorted((a, b) => a.cell.experiment.config.seed - b.cell.experiment.config.seed);
const finishedOf = (cells: readonly Wanted[]): readonly Cell[] => cells.flatMap(({ cell, folder }) => readCell(folder, cell.experiment.config) ?? []);
const begun = performance.now();
for (const [i, { cell, folder }] of wanted.entries()) {
  const { config } = cell.experiment;
  const place = `[${i + 1}/${wanted.length}] ${nameOfCell(config)}`;
  if (values.page) break;
  if (readCell(folder, config) !== undefined) {
    console.log(`${place}: done before`);
    continue;
  }
  console.log(`${place} …`);
  await make(cell, folder);
  console.log(`${place}: done, ${((performance.now() - begun) / 60_000).toFixed(1)} min since the start`);
  writeResults();
}
console.log(`${finishedOf(wanted).length} of ${wanted.length} cells; docs/results.md ${writeResults() ? "is written" : "is left as it is"}.`);

/** Runs one cell as a matrix of its own, so that it goes on where it was stopped. */
async function make(cell: MatrixCell, folder: string): Promise<void> {
  const { config } = cell.experiment;
  const run = runMatrix({ name: config.name, axes: ["adapter", "seed"], cells: [cell] });
  for await (const event of run) {
    if (event.type !== "cell-event") continue;
    const { event: what } = event;
    if (what.type === "round-committed" && !what.scenario.startsWith("local/")) console.log(`  ${what.scenario}, round ${what.round}: ${what.seconds.toFixed(0)} s`);
    if (what.type === "benchmarked") console.log(`  ${what.label}, ${what.scenario}: ${what.figures[0]?.value?.toPrecision(4) ?? "nothing"} (${what.seconds.toFixed(0)} s)`);
  }
  const [record] = readRuns(run.folder);
  if (record === undefined) throw new Error(`${run.folder}: expected a run, got none`);
  writeCell(folder, config, cellOf(record, config, cell.label));
}

/** Whether there was anything to write: of each federation the full form's cells, or as long as it has none, the laptop form's. */
function writeResults(): boolean {
  const shown = Object.keys(GENERATION).map((federation) => {
    const full = cellsOf(federation, "full");
    return finishedOf(full).length > 0 ? full : cellsOf(federation, "laptop");
  }).flat();
  const cells = finishedOf(shown);
  if (cells.length === 0) return false;
  const { markdown, plots } = writePage(cells, { wanted: shown.length, imageFolder: "images" });
  const images = join(root, "docs", "images");
  mkdirSync(images, { recursive: true });
  for (const [name, svg] of Object.entries(plots)) writeFileSync(join(images, name), `${svg}\n`);
  const out = resolve(root, "docs", "results.md");
  const before = existsSync(out) ? readFileSync(out, "utf8") : "# Results\n";
  writeFileSync(out, replaceSection(before, "results", markdown));
  return true;
}
