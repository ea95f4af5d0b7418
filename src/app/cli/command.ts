/**
 * What a command is: words for people, arguments, options with a schema each, and the work. Commands are plain data, one
 * file each; `program.ts` hands them to the command-line parser.
 */
import { z } from "zod";
import type { Context } from "./context.ts";

export interface OptionSpec<Schema extends z.ZodType = z.ZodType> {
  /** In commander's notation: `--out <file>`. */
  readonly flags: string;
  readonly description: string;
  /** What the value must be; receives the text given, true for a flag, undefined where the option is absent. */
  readonly schema: Schema;
}

type OptionValues<Options extends Readonly<Record<string, OptionSpec>>> = { readonly [Name in keyof Options]: z.output<Options[Name]["schema"]> };

export interface CommandSpec<Options extends Readonly<Record<string, OptionSpec>> = Readonly<Record<string, OptionSpec>>> {
  /** One line for the list of commands. */
  readonly summary: string;
  /** In commander's notation, each with its words: `["<file>", "experiment (YAML)"]`. */
  readonly arguments?: readonly (readonly [string, string])[];
  readonly options: Options;
  /** Whole commands as one would type them. */
  readonly examples: readonly string[];
  /** More words for the command's own help. */
  readonly details?: string;
  /** Whether it runs models: the process then takes denormals for zero. */
  readonly runsModels?: true;
  readonly run: (input: { readonly args: readonly string[]; readonly options: OptionValues<Options> }, context: Context) => Promise<void>;
}

/** A command whose option values follow from its schemas; the parser's side of it forgets their names. */
export function defineCommand<const Options extends Readonly<Record<string, OptionSpec>>>(spec: CommandSpec<Options>): CommandSpec {
  // The parser checks each value against its schema before `run` sees it, so the general form is safe to call.
  return spec as unknown as CommandSpec;
}

/** Schema of a flag: false where it is absent. */
export const flag = z.boolean().default(false);

/** Schema of an optional text. */
export const text = z.string().min(1).optional();

/** Schema of a number within bounds, read from text; `fallback` where the option is absent. */
export function numeric(fallback: number, bounds: { readonly min: number; readonly max?: number; readonly integer?: boolean }): z.ZodType<number> {
  const base = z.coerce.number().min(bounds.min).max(bounds.max ?? Number.MAX_SAFE_INTEGER);
  const bounded = bounds.integer === true ? base.int() : base;
  return z.preprocess((value) => (typeof value === "string" && value.trim() === "" ? Number.NaN : (value ?? fallback)), bounded);
}
