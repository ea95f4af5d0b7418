/** The command line's entry: makes the context, parses, runs one command, and turns whatever is thrown into an exit code. */
import { readFileSync } from "node:fs";
import { CommanderError } from "commander";
import type { Command } from "commander";
import { colorsFor } from "./context.ts";
import type { Context } from "./context.ts";
import { describeFailure, describeWrongUse, failureAsJson, failureAsText } from "./failure.ts";
import { listenForSignals } from "./interrupt.ts";
import type { Interrupt } from "./interrupt.ts";
import { createProgram } from "./program.ts";
import { packagePath } from "./package-root.ts";

/** Runs the command line with `args` (without program and script) and returns the exit code. Never rejects. */
export async function main(args: readonly string[]): Promise<number> {
  const interrupt = listenForSignals(process, { now: Date.now, exitNow: endProcessAtOnce });
  leaveQuietlyOnClosedPipe(interrupt);
  const context: Context = { stdout: process.stdout, stderr: process.stderr, colors: colorsFor(process.stdout, process.env), json: asksForJson(args), now: Date.now, interrupt };
  try {
    const program = createProgram(context, readVersion());
    try {
      await program.parseAsync(args, { from: "user" });
    } catch (error) {
      if (!(error instanceof CommanderError)) throw error;
      if (args.length === 0) {
        program.outputHelp();
        return 2;
      }
      const wrongUse = describeWrongUse(error, knownNames(program, args));
      if (wrongUse !== undefined) throw wrongUse;
    }
    return 0;
  } catch (error) {
    const failure = describeFailure(error);
    if (context.json) context.stdout.write(`${failureAsJson(failure)}\n`);
    else context.stderr.write(`${failureAsText(failure, colorsFor(process.stderr, process.env))}\n`);
    return failure.exitCode;
  }
}

function asksForJson(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  return (end < 0 ? args : args.slice(0, end)).includes("--json");
}

function knownNames(program: Command, args: readonly string[]): { where: string; commands: string[]; options: string[] } {
  const command = program.commands.find((c) => c.name() === args.find((a) => !a.startsWith("-"))) ?? program;
  const options = [...command.options.flatMap((o) => (o.long === undefined ? [] : [o.long])), "--help"];
  return { where: command === program ? "fedtune" : `fedtune ${command.name()}`, commands: program.commands.map((c) => c.name()), options };
}

function readVersion(): string {
  const parsed: unknown = JSON.parse(readFileSync(packagePath("package.json"), "utf8"));
  return typeof parsed === "object" && parsed !== null && "version" in parsed ? String(parsed.version) : "unknown";
}

/** By the signal itself, so that the shell sees 130 and no thread that computes can hold the process up. */
function endProcessAtOnce(): void {
  process.removeAllListeners("SIGINT");
  process.kill(process.pid, "SIGINT");
}

/** `fedtune … | head`: whoever reads has gone, which is no fault. A run stops at a step's end and can be resumed. */
function leaveQuietlyOnClosedPipe(interrupt: Interrupt): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    if (!interrupt.requestStop()) process.exit(0);
  });
}
