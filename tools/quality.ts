/**
 * `npm run quality [-- --steps 200 --seeds 1,2,3 --only dolly,gsm8k,shakespeare --out docs/benchmarks.md]`: what an 8-bit base costs
 * in quality. LoRA r 8 on q,v of minimind2-small is trained on the float32 base and on the int8 base with the same seeds and rows;
 * both adapters are judged by held-out rows on both bases. Works cell by cell: each finished one is a JSON file under `--results`,
 * so that the same command goes on where it was stopped, and the table between markers in `--out` is written anew after each.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { z } from "zod";
import { replaceSection } from "./bench/tables.ts";
import { BASES, FORM, makeCell, readCell } from "./quality/cell.ts";
import type { Cell, CellSettings } from "./quality/cell.ts";
import { DATA_SETS } from "./quality/data.ts";
import type { DataSetName, QualityRows } from "./quality/data.ts";
import { qualitySection } from "./quality/table.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const shared = join(root, "..", "shared");
const { values } = parseArgs({
  options: {
    model: { type: "string", default: join(shared, "models", "minimind2-small") },
    data: { type: "string", default: join(shared, "data") },
    only: { type: "string", default: Object.keys(DATA_SETS).join(",") },
    seeds: { type: "string", default: "1,2,3" },
    steps: { type: "string", default: "200" },
    batch: { type: "string", default: "2" },
    tokens: { type: "string", default: "160" },
    "train-rows": { type: "string", default: "2000" },
    "validation-rows": { type: "string", default: "80" },
    results: { type: "string", default: join(root, "docs", "results", "quality") },
    out: { type: "string", default: join(root, "docs", "benchmarks.md") },
  },
});
const whole = z.coerce.number().int().positive();
const datasets = z.array(z.enum(["dolly", "gsm8k", "shakespeare"])).parse(values.only.split(","));
const seeds = z.array(whole).parse(values.seeds.split(","));
if (!existsSync(values.model) || !existsSync(values.data)) {
  console.error("quality: expected ../shared/models/minimind2-small and ../shared/data beside the project, got none. Put them there, or name folders by --model and --data.");
  process.exit(2);
}

const settingsOf = (dataset: DataSetName, seed: number, trained_on: CellSettings["trained_on"]): CellSettings => ({
  model: "minimind2-small", dataset, seed, trained_on, steps: whole.parse(values.steps), batch: whole.parse(values.batch), tokens: whole.parse(values.tokens),
  train_rows: whole.parse(values["train-rows"]), validation_rows: whole.parse(values["validation-rows"]), learning_rate: 5e-4, r: 8, form: FORM,
});

const rowsByName = new Map<DataSetName, Promise<QualityRows>>();
function rowsOf(dataset: DataSetName): Promise<QualityRows> {
  const { tokens, train_rows, validation_rows } = settingsOf(dataset, 0, "none");
  const known = rowsByName.get(dataset) ?? DATA_SETS[dataset]({ modelFolder: values.model, dataFolder: values.data, tokens, trainRows: train_rows, validationRows: validation_rows });
  rowsByName.set(dataset, known);
  return known;
}

/** Seed by seed, so that an unfinished table says something of every data set. */
const wanted = [
  ...datasets.map((dataset) => settingsOf(dataset, 0, "none")),
  ...seeds.flatMap((seed) => datasets.flatMap((dataset) => BASES.map((base) => settingsOf(dataset, seed, base)))),
];
const folder = resolve(values.results);
const cells: Cell[] = [];
for (const settings of wanted) {
  const kept = readCell(folder, settings);
  const cell = kept ?? (await makeCell(folder, settings, { modelFolder: values.model, rows: await rowsOf(settings.dataset) }));
  if (kept === undefined) console.log(JSON.stringify(cell));
  cells.push(cell);
  const out = resolve(values.out);
  writeFileSync(out, replaceSection(existsSync(out) ? readFileSync(out, "utf8") : "# Benchmarks\n", "quality", qualitySection(cells, wanted.length)));
}
