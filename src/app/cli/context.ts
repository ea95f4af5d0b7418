/** What a command may use of the world: streams, colours, clock, and the wish to stop. Made once, in `main.ts`. */
import { createColors } from "picocolors";
import type { Interrupt } from "./interrupt.ts";

export type Colors = ReturnType<typeof createColors>;

/** The part of a process's stream that is used here. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  /** Width of the terminal in characters. */
  readonly columns?: number;
}

export interface Context {
  readonly stdout: Output;
  readonly stderr: Output;
  /** Colours for stdout; all of them do nothing where it is no terminal or NO_COLOR is set. */
  readonly colors: Colors;
  /** Whether the output is for machines: JSON on stdout and nothing else there. */
  readonly json: boolean;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly interrupt: Interrupt;
}

/** Colours for one stream: only on a terminal that can show them and where NO_COLOR is not set; FORCE_COLOR overrides. */
export function colorsFor(stream: Output, env: NodeJS.ProcessEnv): Colors {
  const forced = env["FORCE_COLOR"] !== undefined && env["FORCE_COLOR"] !== "0";
  const wanted = stream.isTTY === true && env["TERM"] !== "dumb";
  return createColors((forced || wanted) && (env["NO_COLOR"] ?? "") === "");
}

/** Prints a line for people; nothing where the output is for machines. */
export function say(context: Context, line = ""): void {
  if (!context.json) context.stdout.write(`${line}\n`);
}

/** Prints one JSON line for machines; nothing where the output is for people. */
export function tell(context: Context, value: unknown): void {
  if (context.json) context.stdout.write(`${JSON.stringify(value)}\n`);
}
