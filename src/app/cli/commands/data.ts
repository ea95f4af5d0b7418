/** `fedtune data list | get NAME… | show NAME`: which data sets there are, what is known of them, and bringing them here. */
import { didYouMean, FedtuneError } from "../../../core/index.ts";
import { formatBytes, formatCount } from "../../report/index.ts";
import { loadApi } from "../api.ts";
import { defineCommand, text } from "../command.ts";
import { say, tell } from "../context.ts";
import type { Context } from "../context.ts";
import { showDownload } from "../download-progress.ts";
import { shortPath } from "../follow-run.ts";
import { describeDatasetAsText } from "../dataset-text.ts";
import { layoutTable } from "../text-layout.ts";

type Work = (names: readonly string[], part: string | undefined, context: Context) => Promise<void>;

async function list(names: readonly string[], part: string | undefined, context: Context): Promise<void> {
  refuse("list", { names: names.length > 0, part });
  const { listDatasets } = await loadApi();
  const lines = listDatasets();
  const columns = [{ heading: "data set", align: "left" }, { heading: "rows", align: "right" }, { heading: "size", align: "right" }, { heading: "here", align: "left" }, { heading: "checksum", align: "left" }] as const;
  const rows = lines.map((d) => [d.name, d.rows === null ? "" : formatCount(d.rows), d.sizeBytes === null ? "" : formatBytes(d.sizeBytes), d.here ? "yes" : "", d.checksum]);
  for (const line of layoutTable(columns, rows, context.stdout.columns ?? 80)) say(context, line);
  say(context);
  for (const { name, title, licence } of lines) say(context, `${name}: ${title} (${licence})`);
  say(context);
  say(context, "verified: checked against a known SHA-256   recorded: against that of the first download   unverified: the first download records one");
  say(context, "Any file of a Hub data set is hub:owner/name@revision/file; FEDTUNE_DATA names a folder with the files already there.");
  for (const line of lines) tell(context, { type: "dataset", ...line });
}

async function get(names: readonly string[], part: string | undefined, context: Context): Promise<void> {
  if (names.length === 0) throw new FedtuneError("config", { where: "fedtune data get", expected: "the names of data sets", got: "none", remedy: "See `fedtune data list`" });
  const { getDataset } = await loadApi();
  const signal = context.interrupt.cooperate();
  for (const name of names) {
    const download = showDownload(context);
    const files = await getDataset(name, { signal, onProgress: download.onProgress, ...(part !== undefined && { part }) }).finally(download.end);
    for (const file of files) {
      say(context, `${file.name}  ${file.from === "download" ? "fetched" : "here"}, ${file.checksum}  ${shortPath(file.path)}`);
      tell(context, { type: "file", dataset: name, ...file });
    }
  }
}

async function show(names: readonly string[], part: string | undefined, context: Context): Promise<void> {
  refuse("show", { names: false, part });
  const [name, ...more] = names;
  if (name === undefined || more.length > 0) throw new FedtuneError("config", { where: "fedtune data show", expected: "the name of one data set, or a file", got: name === undefined ? "none" : names.join(" "), remedy: "See `fedtune data list`" });
  const { describeDataset } = await loadApi();
  const download = showDownload(context);
  const description = await describeDataset(name, { onProgress: download.onProgress, signal: context.interrupt.cooperate() }).finally(download.end);
  for (const line of describeDatasetAsText(description, { width: context.stdout.columns ?? 80, colors: context.colors })) say(context, line);
  tell(context, { type: "dataset", ...description });
}

function refuse(action: string, { names, part }: { readonly names: boolean; readonly part: string | undefined }): void {
  if (!names && part === undefined) return;
  throw new FedtuneError("config", { where: `fedtune data ${action}`, expected: names ? "no more arguments" : "no --part", got: names ? "a name" : `\`${part}\``, remedy: "See `fedtune data --help`" });
}

const ACTIONS: Readonly<Record<string, Work>> = { list, get, show };

export const data = defineCommand({
  summary: "list, fetch and show data sets",
  details: "A config names one by data.name. Files are fetched once into the cache and checked by their hashes; FEDTUNE_DATA names a folder with files already there, so that nothing is fetched.",
  arguments: [
    ["<action>", "list, get or show"],
    ["[name...]", "data sets: built-in, or hub:owner/name@revision/file; show also takes a file"],
  ],
  options: {
    part: { flags: "--part <name>", description: "which part to get (default: all)", schema: text },
  },
  examples: ["fedtune data list", "fedtune data get gsm8k --part train", "fedtune data show dolly-15k", "fedtune data get hub:databricks/databricks-dolly-15k/databricks-dolly-15k.jsonl", "fedtune data show branches/north.jsonl --json"],
  async run({ args: [action = "", ...names], options }, context) {
    const work = Object.hasOwn(ACTIONS, action) ? ACTIONS[action] : undefined;
    if (work === undefined) throw new FedtuneError("config", { where: "fedtune data", expected: Object.keys(ACTIONS).join(", "), got: `\`${action}\``, remedy: didYouMean(action, Object.keys(ACTIONS)) || "See `fedtune data --help`" });
    await work(names, options.part, context);
  },
});
