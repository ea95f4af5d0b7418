/** All commands, by name, in the order of the help. */
import type { CommandSpec } from "./command.ts";
import { api } from "./commands/api.ts";
import { bench } from "./commands/bench.ts";
import { chat } from "./commands/chat.ts";
import { data } from "./commands/data.ts";
import { demo } from "./commands/demo.ts";
import { evaluate } from "./commands/evaluate.ts";
import { exportCommand } from "./commands/export.ts";
import { generate } from "./commands/generate.ts";
import { models } from "./commands/models.ts";
import { partition } from "./commands/partition.ts";
import { report } from "./commands/report.ts";
import { resume } from "./commands/resume.ts";
import { run } from "./commands/run.ts";

export const COMMANDS: Readonly<Record<string, CommandSpec>> = { demo, run, resume, report, data, partition, models, evaluate, generate, chat, api, export: exportCommand, bench };
