/** What every reporter of a run's events can do, and which one fits the output. */
import type { Context } from "../context.ts";
import type { RunEvent } from "../api.ts";
import { createJsonReporter } from "./json.ts";
import { createPlainReporter } from "./plain.ts";
import { createTerminalReporter } from "./terminal.ts";

export interface Reporter extends Disposable {
  /** Shows one event. */
  readonly add: (event: RunEvent) => void;
  /** Says that the run is about to stop, by a signal. */
  readonly stopping: () => void;
}

/** JSON lines for machines, progress in place on a terminal, plain lines elsewhere. Disposing it gives the terminal back. */
export function createReporter(context: Context): Reporter {
  if (context.json) return createJsonReporter(context.stdout);
  const { stdout, colors, now } = context;
  if (stdout.isTTY !== true || process.env["TERM"] === "dumb") return createPlainReporter(stdout);
  const reporter = createTerminalReporter(stdout, {
    colors,
    now,
    every: (ms, draw) => {
      const timer = setInterval(draw, ms);
      return () => clearInterval(timer);
    },
  });
  context.interrupt.onExit(() => reporter[Symbol.dispose]());
  return reporter;
}
