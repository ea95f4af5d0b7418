/**
 * `npm run reference`: writes `docs/models.md` from what was compared with PyTorch, `docs/datasets.md` from the catalog, `docs/config.md` and `docs/experiment.schema.json` from the config's schema. A test holds them against it.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { DATASETS } from "../src/llm/data/catalog/all.ts";
import { describeSource, filesOf, type Dataset } from "../src/llm/data/catalog/dataset.ts";
import { supportTable } from "../src/llm/training/support.ts";
import { allFields, experimentJsonSchema } from "../src/app/experiment/json-schema.ts";

const cell = (text: string): string => text.replaceAll("|", "\\|");

/** The pages by file name, relative to docs/. */
export function referencePages(): ReadonlyMap<string, string> {
  const rows = allFields().map(({ path, description, of, values, default: fallback }) => {
    const isGroup = values === "";
    const shown = isGroup || fallback === undefined ? "" : `\`${JSON.stringify(fallback)}\``;
    const forms = of.length === 0 ? "" : ` (${of.map((form) => `\`${form}\``).join(", ")})`;
    return `| \`${path}\` | ${cell(description)}${forms} | ${cell(values)} | ${cell(shown)} |`;
  });
  const page = [
    "# The config",
    "",
    "One YAML file; `key=value` on the command line overrides a field (`federation.rounds=3`). Paths are relative to the file, on the command line to the working",
    "directory. Made from the schema by `npm run reference`; [experiment.schema.json](experiment.schema.json) is the same for editors: put",
    "`# yaml-language-server: $schema=…/experiment.schema.json` into the first line of a config.",
    "",
    "| field | what it is | values | default |",
    "|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
  return new Map([["models.md", modelsPage()], ["datasets.md", datasetsPage()], ["config.md", page], ["experiment.schema.json", `${JSON.stringify(experimentJsonSchema(), null, 2)}\n`]]);
}

/** The built-in data sets, with their files. */
function datasetsPage(): string {
  const mapping = ({ fields, client, split, derive = [] }: Dataset): string =>
    [...Object.entries(fields), ...(client === undefined ? [] : [["client", client]]), ...(split === undefined ? [] : [["split", split]])].map(([meaning, field]) => `${meaning} = \`${field}\`${derive.some((name) => name === field) ? " (derived)" : ""}`).join(", ");
  const files = Object.entries(DATASETS).flatMap(([name, dataset]) =>
    Object.keys(dataset.parts).flatMap((part) => filesOf(dataset, part).map((file) => `| \`${name}\` | ${part} | \`${file.path}\` | ${file.rows?.toLocaleString("en-US") ?? ""} | ${file.sizeBytes?.toLocaleString("en-US") ?? ""} | ${file.sha256 === undefined ? (dataset.source.host === "hub" ? "the Hub's" : "recorded at the first download") : `\`${file.sha256}\``} |`)),
  );
  return [
    "# Built-in data sets",
    "",
    "Made by `npm run reference` from the catalog in `src/llm/data/catalog`; `fedtune data list` and `fedtune data show NAME` print the same. How they are used is in [data.md](data.md).",
    "",
    "| name | what it holds | licence | source | fields |",
    "|---|---|---|---|---|",
    ...Object.entries(DATASETS).map(([name, dataset]) => `| \`${name}\` | ${cell([dataset.title, ...(dataset.note === undefined ? [] : [dataset.note])].join(". "))} | ${cell([dataset.licence, ...(dataset.terms === undefined ? [] : [dataset.terms])].join(". "))} | ${cell(describeSource(dataset.source))} | ${mapping(dataset)} |`),
    "",
    "## Files",
    "",
    "Paths are those below the folder of `FEDTUNE_DATA`; hashes are of the unpacked files.",
    "",
    "| name | part | file | rows | bytes | SHA-256 |",
    "|---|---|---|---|---|---|",
    ...files,
    "",
  ].join("\n");
}

/** Which architecture works under which method, and how closely it follows PyTorch. */
function modelsPage(): string {
  const support = supportTable();
  const architectures = [...new Set(support.map((s) => s.architecture))];
  const methods = [...new Set(support.map((s) => s.method))];
  const at = (architecture: string, method: string) => support.find((s) => s.architecture === architecture && s.method === method);
  const mark = (architecture: string, method: string): string => (at(architecture, method)?.without !== undefined ? "–" : (at(architecture, method)?.cases.length ?? 0) > 0 ? "✓" : "·");
  const cases = support.flatMap((s) => s.cases);
  const worst = (measure: string): string => Math.max(...cases.map((c) => c.differences[measure] ?? 0)).toExponential(1);
  const witnesses = [...new Set(cases.map(({ witness: w }) => `PyTorch ${w.torch.replace(/\+.*/u, "")}, transformers ${w.transformers}, PEFT ${w.peft}`))];
  const reasons = [...new Set(support.flatMap((s) => (s.without === undefined ? [] : [`${s.method} ${s.without}`])))];
  return [
    "# Models and adapter methods",
    "",
    "Made by `npm run reference` from the records of architectures and methods and from `assets/checked.json`; `fedtune models` prints the same.",
    "",
    `| | ${methods.map((m) => `\`${m}\``).join(" | ")} |`,
    `|---|${methods.map(() => "---|").join("")}`,
    ...architectures.map((a) => `| \`${a}\` | ${methods.map((m) => mark(a, m)).join(" | ")} |`),
    "",
    `✓ recorded cases agree (${witnesses.join("; ")}); · checked against the method's equations alone; – does not fit.`,
    ...(reasons.length === 0 ? [] : ["", ...reasons.map((reason) => `– ${reason}.`)]),
    "",
    `A case is a batch of three rows of unequal length on a small random model: losses before each of three optimiser steps and after the last, logits, first gradients, the change`,
    `of the tensors, the loss of the merged model and of the base without the adapter. ${cases.length} cases agree; the largest relative differences over all of them are`,
    `${worst("loss")} in the losses, ${worst("logits")} in the logits, ${worst("gradients")} in the gradients, ${worst("change")} in the change, ${worst("merged_loss")} in the merged loss.`,
    "PyTorch computes them in float64, fedtune in float32. `tools/golden/make_cases.py` records them, `npm run golden -- FOLDER` compares.",
    "",
  ].join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, text] of referencePages()) {
    writeFileSync(new URL(`../docs/${name}`, import.meta.url), text);
  }
}
