/** Hands the commands to the command-line parser: help with examples, --json everywhere, option values checked by their schemas. */
import { Command } from "commander";
import type { z } from "zod";
import type { CommandSpec, OptionSpec } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import type { Context } from "./context.ts";
import { FedtuneError } from "../../core/index.ts";
import { flushDenormals } from "../../engine/index.ts";

const SUMMARY = "Fine-tunes one language model together with many parties whose data never leaves them.";
const EXIT_CODES = "Exit codes: 0 done, 1 fault in the program, 2 wrong use or config,\n3 data, 4 model or adapter, 5 resources, 6 federation,\n130 interrupted (the run resumes).";

/** The parser with all commands. Throws CommanderError for wrong use, help and version; writes help to stdout. */
export function createProgram(context: Context, version: string): Command {
  const program = new Command("fedtune");
  program
    .description(SUMMARY)
    .version(version)
    .usage("<command> [options]")
    .helpCommand(false)
    .exitOverride()
    .showSuggestionAfterError(false)
    .configureOutput({ writeOut: (help) => void context.stdout.write(help), writeErr: () => undefined, getOutHasColors: () => false })
    .configureHelp({ subcommandTerm: (command) => [command.name(), ...command.registeredArguments.map((a) => (a.required ? `<${a.name()}>` : `[${a.name()}]`).replace(/.$/, (end) => (a.variadic ? `…${end}` : end)))].join(" ") })
    .addHelpText("after", `\nStart with \`fedtune demo\`: it needs no download.\n\`fedtune <command> --help\` shows examples.\n${EXIT_CODES}`);
  for (const [name, spec] of Object.entries(COMMANDS)) addCommand(program, name, { spec, context });
  return program;
}

function addCommand(program: Command, name: string, { spec, context }: { readonly spec: CommandSpec; readonly context: Context }): void {
  const command = program.command(name).summary(spec.summary).description(spec.details === undefined ? asSentence(spec.summary) : `${asSentence(spec.summary)}\n\n${spec.details}`);
  for (const [argument, description] of spec.arguments ?? []) command.argument(argument, description);
  for (const { flags, description } of Object.values(spec.options)) command.option(flags, description);
  command.option("--json", "print JSON for machines");
  command.addHelpText("after", `\nExamples:\n${spec.examples.map((line) => `  $ ${line}`).join("\n")}`);
  command.action(async () => {
    const given: Readonly<Record<string, unknown>> = command.opts();
    const options = Object.fromEntries(Object.entries(spec.options).map(([key, option]) => [key, checkOption(`fedtune ${name}`, option, given[key])]));
    if (spec.runsModels === true) await flushDenormals();
    await spec.run({ args: command.args, options }, context);
  });
}

function checkOption(where: string, option: OptionSpec, value: unknown): unknown {
  const result = option.schema.safeParse(value);
  if (result.success) return result.data;
  const name = option.flags.split(/[ ,]/).find((word) => word.startsWith("--")) ?? option.flags;
  const [issue] = result.error.issues;
  throw new FedtuneError("config", { where: `${where} ${name}`, expected: issue === undefined ? "another value" : describeIssue(issue), got: value === undefined ? "nothing" : `\`${typeof value === "string" ? value : JSON.stringify(value)}\``, remedy: `See \`${where} --help\`` });
}

/** What a schema wanted, as it stands after "expected". */
function describeIssue(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "too_small":
      return issue.origin === "string" ? "some text" : `a number of at least ${issue.minimum}`;
    case "too_big":
      return `a number of at most ${issue.maximum}`;
    case "invalid_type":
      return issue.message.startsWith("expected ") ? issue.message.slice("expected ".length) : issue.expected === "int" ? "a whole number" : `a ${issue.expected}`;
    default:
      return issue.message;
  }
}

/** Makes the first letter of a description a capital and ends it with a full stop. */
function asSentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
