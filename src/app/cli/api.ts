/**
 * The public API as the command line uses it, loaded when a command needs it: `--help` and wrong use stay quick, and a
 * missing native part cannot break them.
 */
import type { JournalEvent, RunEvent, Scenario } from "../../federation/rounds/events.ts";
import type { Experiment } from "../experiment/schema.ts";
import type { CategoryCounts } from "../report/index.ts";
import type { ChatOptions, ChatSession, GenerateOptions, GeneratedText, TextListener } from "./text-options.ts";

export type { JournalEvent, RunEvent, Scenario };

/** One run, read from its folder. */
export interface RunRecord {
  readonly name: string;
  readonly events: readonly RunEvent[];
  /** The config as resolved, as YAML text. */
  readonly config: string;
  readonly categories?: CategoryCounts;
}

export interface DryRun {
  readonly lines: readonly string[];
}

export interface PartitionResult {
  readonly manifest: { readonly clients: readonly { readonly name: string; readonly train: readonly number[]; readonly validation: readonly number[]; readonly test: readonly number[] }[]; readonly globalTest: readonly number[] };
  readonly categories: CategoryCounts;
}

export interface Api {
  readonly loadExperiment: (file: string, overrides: readonly string[]) => Experiment;
  readonly run: (experiment: Experiment, options: { readonly signal: AbortSignal }) => AsyncIterable<RunEvent> & { readonly folder: string };
  readonly resume: (folder: string, options: { readonly signal: AbortSignal }) => AsyncIterable<RunEvent> & { readonly folder: string };
  readonly dryRun: (experiment: Experiment) => Promise<DryRun>;
  readonly partitionExperiment: (experiment: Experiment) => Promise<PartitionResult>;
  readonly readRun: (folder: string) => Promise<RunRecord> | RunRecord;
  readonly exportAdapter: (options: { readonly source: string; readonly out: string; readonly format: "peft" | "merged"; readonly model?: string }) => Promise<{ readonly folder: string; readonly files: readonly string[] }>;
  readonly generate: (options: GenerateOptions, listener: TextListener) => Promise<GeneratedText>;
  readonly openChat: (options: ChatOptions) => Promise<ChatSession>;
}

/** Loads the public API. */
export async function loadApi(): Promise<Api> {
  const index = "../../index.ts";
  return (await import(index)) as Api;
}
