/** `fedtune report RUN…`: writes the HTML report of one run or of several side by side. */
import { dirname, join, resolve } from "node:path";
import { ensureWritableFolder, writeFileAtomic } from "../../../core/index.ts";
import { loadApi } from "../api.ts";
import { defineCommand, text } from "../command.ts";
import { say, tell } from "../context.ts";
import { shortPath } from "../follow-run.ts";
import { writeResult } from "../result-text.ts";

export const report = defineCommand({
  summary: "write the HTML report of a run, or of several side by side",
  arguments: [["<run...>", "folders of runs"]],
  options: {
    out: { flags: "--out <file>", description: "where to write it (default: report.html in the run's folder, or in the working directory for several)", schema: text },
  },
  examples: ["fedtune report runs/dolly-1a2b3c", "fedtune report runs/dolly-* --out comparison.html"],
  async run({ args, options }, context) {
    const [{ readRun }, { renderReport }] = await Promise.all([loadApi(), import("../../report/render.ts")]);
    const runs = args.map((folder) => readRun(folder));
    const out = options.out ?? (args.length === 1 ? join(args[0] ?? ".", "report.html") : "report.html");
    ensureWritableFolder(dirname(resolve(out)));
    writeFileAtomic(out, renderReport(runs));
    if (runs.length === 1) for (const line of writeResult(runs[0]?.events ?? [], { width: context.stdout.columns ?? 80, colors: context.colors })) say(context, line);
    say(context, `\nReport: ${shortPath(out)}`);
    tell(context, { type: "report", report: out, runs: runs.map((r) => r.name) });
  },
});
