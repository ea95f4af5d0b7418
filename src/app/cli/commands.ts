/** All commands, by name, in the order of the help. */
import type { CommandSpec } from "./command.ts";
import { report } from "./commands/report.ts";

export const COMMANDS: Readonly<Record<string, CommandSpec>> = { report };
