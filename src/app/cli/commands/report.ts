/** `fedtune report RUN…`: writes the report of one run or of several compared, as HTML, CSV and JSON. */
import { join } from "node:path";
import { loadApi } from "../api.ts";
import { defineCommand, text } from "../command.ts";
import { say, tell } from "../context.ts";
import { shortPath } from "../follow-run.ts";
import { writeResult } from "../result-text.ts";
import { writeReport } from "../write-report.ts";

export const report = defineCommand({
  summary: "write the report of a run, or of several compared",
  details: "One HTML file that opens without a network; beside it, under the same name, every value as .csv and what is drawn as .json. Runs that differ in their seed alone are one row of the tables.",
  arguments: [["<run...>", "folders of runs and of matrices"]],
  options: {
    out: { flags: "--out <file>", description: "HTML file to write (default: report.html in the run's folder, or in the working directory for several; a matrix has its own)", schema: text },
  },
  examples: ["fedtune report runs/dolly-1a2b3c", "fedtune report runs/dolly-* --out comparison.html"],
  async run({ args, options }, context) {
    const { isMatrixFolder, readRuns } = await loadApi();
    const runs = args.flatMap((folder) => readRuns(folder));
    const [only, ...others] = runs;
    const [folder] = args;
    const home = folder !== undefined && args.length === 1 && (isMatrixFolder(folder) || others.length === 0) ? folder : undefined;
    const { html, csv, json } = await writeReport(runs, options.out ?? join(home ?? ".", "report.html"));
    if (only !== undefined && others.length === 0) for (const line of writeResult(only.events, { width: context.stdout.columns ?? 80, colors: context.colors })) say(context, line);
    say(context, `\nReport  ${shortPath(html)}`);
    say(context, `Values  ${shortPath(csv)}, ${shortPath(json)}`);
    tell(context, { type: "report", report: html, csv, json, runs: runs.map((r) => r.name) });
  },
});
