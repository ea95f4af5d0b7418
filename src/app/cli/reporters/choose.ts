/** Which reporter fits the output. */
import type { Context } from "../context.ts";
import { createJsonReporter } from "./json.ts";
import { createPlainReporter } from "./plain.ts";
import type { Reporter } from "./reporter.ts";
import { createTerminalReporter } from "./terminal.ts";

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
