/** How an error ends the program: the exit code, and one to three lines for people or one JSON line for machines. */
import type { CommanderError } from "commander";
import { didYouMean, FedtuneError, messageOf } from "../../core/index.ts";
import type { Colors } from "./context.ts";

export interface Failure {
  readonly exitCode: number;
  /** A fault in fedtune rather than in what it was given. */
  readonly bug: boolean;
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly stack: string | undefined;
}

/** What went wrong, as data. Anything that is not a FedtuneError is a bug in fedtune, with exit code 1. */
export function describeFailure(error: unknown): Failure {
  if (isFedtuneError(error)) {
    return { exitCode: error.exitCode, bug: error.exitCode === 1, code: error.code, message: error.message, details: error.details, stack: error.exitCode === 1 ? error.stack : undefined };
  }
  return { exitCode: 1, bug: true, code: "internal", message: messageOf(error), details: {}, stack: error instanceof Error ? error.stack : undefined };
}

/** Also true for an error that came through another copy of the class, as after a structured clone. */
function isFedtuneError(error: unknown): error is FedtuneError {
  return error instanceof FedtuneError || (error instanceof Error && error.name === "FedtuneError" && "exitCode" in error && typeof error.exitCode === "number");
}

/** One line for machines. */
export function failureAsJson({ exitCode, code, message, details, bug, stack }: Failure): string {
  return JSON.stringify({ type: "error", code, exitCode, message, details, ...(bug && { bug, stack }) });
}

/** One to three lines for people; for a bug also where it happened. */
export function failureAsText(failure: Failure, colors: Colors): string {
  const label = colors.red(failure.exitCode === 130 ? "stopped" : "error");
  if (!failure.bug) return `${label} ${failure.message}`;
  const trace = failure.stack?.split("\n").filter((line) => line.startsWith("    at ")).join("\n");
  return `${label} ${failure.message}\nThis is a bug in fedtune, not in what you gave it. Please report it with these lines:\n${colors.dim(trace ?? "(no trace)")}`;
}

/**
 * A fault that the command-line parser found, as wrong use (exit code 2) with the nearest name.
 * `commands` and `options` are what could have been meant; undefined where the parser only showed help or the version.
 */
export function describeWrongUse(error: CommanderError, known: { readonly where: string; readonly commands: readonly string[]; readonly options: readonly string[] }): FedtuneError | undefined {
  if (error.exitCode === 0) return undefined;
  const { where } = known;
  const got = /'([^']+)'/.exec(error.message)?.[1] ?? "";
  const help = `See \`${where} --help\``;
  switch (error.code) {
    case "commander.unknownCommand":
      return new FedtuneError("config", { where, expected: `a command (${known.commands.join(", ")})`, got: `\`${got}\``, remedy: didYouMean(got, known.commands) || help });
    case "commander.unknownOption": {
      const name = got.split("=")[0] ?? got;
      return new FedtuneError("config", { where, expected: `one of ${known.options.join(", ")}`, got: `the option \`${name}\``, remedy: didYouMean(name, known.options) || help });
    }
    case "commander.missingArgument":
      return new FedtuneError("config", { where, expected: `the argument <${got}>`, got: "none", remedy: help });
    case "commander.optionMissingArgument":
      return new FedtuneError("config", { where, expected: `a value for ${got}`, got: "none", remedy: help });
    case "commander.excessArguments":
      return new FedtuneError("config", { where, expected: "no more arguments", got: error.message.replace(/^error: too many arguments[^.]*\.\s*/, "").replace(/\.$/, "") || "too many", remedy: help });
    default:
      return new FedtuneError("config", { where, expected: "a command that fedtune knows", got: error.message.replace(/^error: /, ""), remedy: help });
  }
}
