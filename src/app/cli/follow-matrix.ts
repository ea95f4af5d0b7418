/** Shows a matrix while it is worked off, and what it left: the common part of `run` and `resume`. */
import { join } from "node:path";
import { FedtuneError } from "../../core/index.ts";
import type { loadApi, Matrix, MatrixEvent } from "./api.ts";
import { say, tell } from "./context.ts";
import type { Context } from "./context.ts";
import { shortPath } from "./follow-run.ts";
import { createReporter } from "./reporters/choose.ts";
import type { Reporter } from "./reporters/reporter.ts";
import { writeReport } from "./write-report.ts";

export interface FollowMatrixOptions {
  readonly api: Pick<Awaited<ReturnType<typeof loadApi>>, "readRun" | "readRuns" | "runMatrix">;
  readonly matrix: Matrix;
  /** The command that goes on with it. */
  readonly again: string;
}

/** What a matrix is made of, as lines. */
export function describeMatrix({ name, axes, cells }: Matrix): readonly string[] {
  return [`${name}: a matrix of ${cells.length} cells by ${axes.join(" and ")}. The first of them:`, ""];
}

/** Works a matrix off, writes its report and says where it is. Rejects with what the matrix throws. */
export async function followMatrix(context: Context, { api, matrix, again }: FollowMatrixOptions): Promise<void> {
  let reporter: Reporter | undefined;
  const run = api.runMatrix(matrix, { signal: context.interrupt.cooperate(() => reporter?.stopping()) });
  const end = (): void => {
    reporter?.[Symbol.dispose]();
    reporter = undefined;
  };
  let failure: Error | undefined;
  try {
    for await (const event of run) {
      if (event.type === "cell-started") reporter = createReporter(context);
      if (event.type === "cell-event") {
        if (event.event.type === "run-resumed") reporter?.catchUp(api.readRun(event.folder).events);
        reporter?.add(event.event);
        continue;
      }
      if (event.type !== "cell-started") end();
      say(context, describe(event));
      tell(context, event);
    }
  } catch (error) {
    end();
    if (error instanceof FedtuneError && error.code === "interrupted") {
      throw new FedtuneError("interrupted", { where: shortPath(run.folder), expected: "a matrix to its end", got: "a request to stop", remedy: `Go on with \`${again}\``, details: { folder: run.folder }, cause: error });
    }
    if (!(error instanceof Error)) throw error;
    failure = error;
  }
  const records = api.readRuns(run.folder);
  const report = await writeReport(records, join(run.folder, "report.html"));
  if (failure !== undefined) throw failure;
  say(context, `\nReport   ${shortPath(report.html)}`);
  tell(context, { type: "matrix-result", folder: run.folder, report: report.html, csv: report.csv, json: report.json });
}

function describe(event: Exclude<MatrixEvent, { type: "cell-event" }>): string {
  const place = `[${event.cell + 1}/${event.cells}] ${event.label}`;
  switch (event.type) {
    case "cell-started":
      return place;
    case "cell-finished":
      return `${place}: ${event.reused ? "done before" : "done"}, ${shortPath(event.folder)}`;
    case "cell-failed":
      return `${place}: failed (${event.code}): ${event.reason}`;
    default:
      return event satisfies never;
  }
}
