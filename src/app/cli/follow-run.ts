/** Shows a run while it goes on, and what it left when it is over: the common part of `run`, `resume` and `demo`. */
import { existsSync } from "node:fs";
import { join, relative } from "node:path";
import { FedtuneError } from "../../core/index.ts";
import type { loadApi, RunEvent } from "./api.ts";
import { say, tell } from "./context.ts";
import type { Context } from "./context.ts";
import { createReporter } from "./reporters/choose.ts";
import { writeResult } from "./result-text.ts";
import { writeReport } from "./write-report.ts";

export interface FollowOptions {
  readonly api: Pick<Awaited<ReturnType<typeof loadApi>>, "readRun">;
  /** What happened before this process took the run up. */
  readonly earlier?: readonly RunEvent[];
  /** Events of the run as they happen. The signal asks it to stop. */
  readonly start: (signal: AbortSignal) => AsyncIterable<RunEvent> & { readonly folder: string };
  /** The command to try next, printed last. */
  readonly next: (folder: string) => readonly string[];
}

/** Follows a run to its end, writes its report and prints the result. Rejects with what the run throws; the run says how to resume. */
export async function followRun(context: Context, { api, earlier = [], start, next }: FollowOptions): Promise<void> {
  const folder = await showProgress(context, start, earlier);
  const record = api.readRun(folder);
  const { html: report } = await writeReport([record], join(folder, "report.html"));
  const adapter = join(folder, "adapter");
  say(context);
  for (const line of writeResult(record.events, { width: context.stdout.columns ?? 80, colors: context.colors })) say(context, line);
  say(context);
  say(context, `Adapter  ${shortPath(adapter)} (PEFT)`);
  say(context, `Report   ${shortPath(report)}`);
  const hints = next(shortPath(folder));
  if (hints.length > 0) say(context);
  for (const hint of hints) say(context, hint);
  tell(context, { type: "result", folder, adapter, report });
}

/** Shows the run's events until it ends and returns its folder. Where it stops early, says how to go on. */
async function showProgress(context: Context, start: FollowOptions["start"], earlier: readonly RunEvent[]): Promise<string> {
  using reporter = createReporter(context);
  reporter.catchUp(earlier);
  const run = start(context.interrupt.cooperate(() => reporter.stopping()));
  try {
    for await (const event of run) reporter.add(event);
  } catch (error) {
    reporter[Symbol.dispose]();
    // Stopped before there was anything to resume.
    if (!existsSync(join(run.folder, "experiment.yaml"))) throw error;
    const resume = `npx fedtune resume ${shortPath(run.folder)}`;
    if (error instanceof FedtuneError && error.code === "interrupted") {
      throw new FedtuneError("interrupted", { where: shortPath(run.folder), expected: "a run to its end", got: "a request to stop", remedy: `Go on with \`${resume}\``, details: { folder: run.folder }, cause: error });
    }
    say(context, `What is done is kept. Go on with: ${resume}`);
    throw error;
  }
  return run.folder;
}

/** A path as one would type it from here. */
export function shortPath(path: string): string {
  const short = relative(".", path);
  return short === "" ? "." : short.startsWith("..") && short.length > path.length ? path : short;
}
