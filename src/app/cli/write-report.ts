/** The files of a report: the page, and beside it every value as CSV and what is drawn as JSON. */
import { existsSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { ensureWritableFolder, writeFileAtomic } from "../../core/index.ts";
import type { RunRecord } from "./api.ts";

export interface ReportFiles {
  readonly html: string;
  readonly csv: string;
  readonly json: string;
}

/** Writes all three, the page to `html`. Throws FedtuneError("resources") naming the path. */
export async function writeReport(runs: readonly RunRecord[], html: string): Promise<ReportFiles> {
  const { makeReport } = await import("../report/render.ts");
  const made = makeReport(runs.map((run) => ({ ...run, link: linkTo(run.folder, html) })));
  const stem = html.replace(/\.html?$/i, "");
  const files = { html, csv: `${stem}.csv`, json: `${stem}.json` };
  ensureWritableFolder(dirname(resolve(html)));
  writeFileAtomic(files.html, made.html);
  writeFileAtomic(files.csv, made.csv);
  writeFileAtomic(files.json, made.json);
  return files;
}

/** A run's own report, or its folder where it has none, as a link from the page. */
function linkTo(folder: string, page: string): string {
  const own = join(folder, "report.html");
  const target = existsSync(own) ? own : folder;
  return relative(dirname(resolve(page)), resolve(target)).split(sep).map(encodeURIComponent).join("/");
}
