/** `fedtune partition FILE`: shows who would hold which rows, and writes that down as a manifest. */
import { dirname, join, resolve } from "node:path";
import { ensureWritableFolder, writeFileAtomic } from "../../../core/index.ts";
import { loadApi } from "../api.ts";
import { defineCommand, text } from "../command.ts";
import { say, tell } from "../context.ts";
import { showDownload } from "../download-progress.ts";
import { shortPath } from "../follow-run.ts";
import { drawPartition } from "../partition-chart.ts";

export const partition = defineCommand({
  summary: "show who would hold which rows, and write it down",
  details: "Each row is given to its client first and only then split into train, validation and test. The manifest lists the rows of each client.",
  arguments: [
    ["<file>", "experiment (YAML)"],
    ["[key=value...]", "fields to set"],
  ],
  options: {
    out: { flags: "--out <file>", description: "where to write the manifest (default: NAME.partition.json in the config's output folder)", schema: text },
  },
  examples: ["fedtune partition examples/dolly.yaml", "fedtune partition my.yaml partition.alpha=0.1 --out split.json", "fedtune partition my.yaml --json"],
  async run({ args: [file = "", ...overrides], options }, context) {
    const api = await loadApi();
    const { cells: [first, ...others] } = api.loadMatrix(file, overrides);
    const experiment = first?.experiment ?? api.loadExperiment(file, overrides);
    if (first !== undefined && others.length > 0) say(context, `The first of ${others.length + 1} cells of the matrix: ${first.label}\n`);
    const download = showDownload(context);
    const { manifest, categories } = await api.partitionExperiment(experiment, { onProgress: download.onProgress, signal: context.interrupt.cooperate() });
    download.end();
    const out = options.out ?? join(experiment.config.output, `${experiment.config.name}.partition.json`);
    ensureWritableFolder(dirname(resolve(out)));
    writeFileAtomic(out, `${JSON.stringify(manifest)}\n`);
    const clients = manifest.clients.map(({ name, train, validation, test }) => ({ name, train: train.length, validation: validation.length, test: test.length }));
    for (const line of drawPartition({ clients, globalTest: manifest.globalTest.length, categories }, { width: context.stdout.columns ?? 80, colors: context.colors })) say(context, line);
    if (manifest.leftOut.length > 0) say(context, `\n${api.describeLeftOut(manifest)}.`);
    say(context, `\nManifest: ${shortPath(out)}`);
    tell(context, manifest);
  },
});
