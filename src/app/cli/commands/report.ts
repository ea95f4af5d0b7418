/** `fedtune report RUN…`: writes the report of one run or of several compared, as HTML, CSV and JSON. */
import { existsSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { ensureWritableFolder, writeFileAtomic } from "../../../core/index.ts";
import { loadApi } from "../api.ts";
import { defineCommand, text } from "../command.ts";
import { say, tell } from "../context.ts";
import { shortPath } from "../follow-run.ts";
import { writeResult } from "../result-text.ts";

export const report = defineCommand({
  summary: "write the report of a run, or of several compared",
  details: "One HTML file that opens without a network; beside it, under the same name, every value as .csv and what is drawn as .json. Runs that differ in their seed alone are one row of the tables.",
  arguments: [["<run...>", "folders of runs"]],
  options: {
    out: { flags: "--out <file>", description: "HTML file to write (default: report.html in the run's folder, or in the working directory for several)", schema: text },
  },
  examples: ["fedtune report runs/dolly-1a2b3c", "fedtune report runs/dolly-* --out comparison.html"],
  async run({ args, options }, context) {
    const [{ readRun }, { makeReport }] = await Promise.all([loadApi(), import("../../report/render.ts")]);
    const runs = args.flatMap((folder) => readRun(folder));
    const [only, ...others] = runs;
    const out = options.out ?? (only !== undefined && others.length === 0 ? join(only.folder, "report.html") : "report.html");
    const files = makeReport(runs.map((run) => ({ ...run, link: linkTo(run.folder, out) })));
    const stem = out.replace(/\.html?$/i, "");
    const [csv, json] = [`${stem}.csv`, `${stem}.json`];
    ensureWritableFolder(dirname(resolve(out)));
    writeFileAtomic(out, files.html);
    writeFileAtomic(csv, files.csv);
    writeFileAtomic(json, files.json);
    if (only !== undefined && others.length === 0) for (const line of writeResult(only.events, { width: context.stdout.columns ?? 80, colors: context.colors })) say(context, line);
    say(context, `\nReport  ${shortPath(out)}`);
    say(context, `Values  ${shortPath(csv)}, ${shortPath(json)}`);
    tell(context, { type: "report", report: out, csv, json, runs: runs.map((r) => r.name) });
  },
});

/** A run's own report, or its folder where it has none, as a link from the page. */
function linkTo(folder: string, page: string): string {
  const own = join(folder, "report.html");
  const target = existsSync(own) ? own : folder;
  return relative(dirname(resolve(page)), resolve(target)).split(sep).map(encodeURIComponent).join("/");
}
