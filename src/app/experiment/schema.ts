/** The schema of an experiment's config: the fragments that the layers own, put together. Reading files is `load.ts`. */
import { z } from "zod";
import { federationSchema } from "../../federation/strategies/settings.ts";
import { adapterSchema } from "../../llm/adapters/settings.ts";
import { dataSchema, partitionSchema } from "../../llm/data/settings.ts";
import { runtimeSchema, trainingSchema } from "../../llm/training/settings.ts";

const samplesSchema = z.strictObject({
  prompts: z.array(z.string()).default([]).describe("prompts that the base and the federated adapter continue at the end"),
  max_new_tokens: z.int().positive().default(60).describe("longest continuation in tokens"),
});

const compared = z.enum(["base", "local", "global", "federated"]);

const benchmarkSchema = z
  .looseObject({
    name: z.string().min(1).describe("a benchmark's name, as `fedtune evaluate --list` has it"),
    label: z.string().regex(/^[A-Za-z0-9][\w.@+ -]*$/, "expected letters, digits, spaces and `-_.@+`").optional().describe("what it is called in tables; left out: its name"),
    compare: z.array(compared).min(1).optional().describe("which of what is compared it is asked of; left out: all"),
    limit: z.int().positive().optional().describe("a sample of so many questions, the same ones every time; left out: all"),
  })
  .describe("a benchmark with its settings");

export const experimentSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9][\w.-]*$/, "expected letters, digits, `-`, `_` and `.`")
    .describe("name of the experiment and start of its run folders' names; by default the file's name"),
  seed: z.int().min(0).max(2 ** 32 - 1).default(1).describe("seed of every random number"),
  model: z.string().min(1).describe("folder of a Hugging Face model, or its id on the Hub"),
  revision: z.string().min(1).optional().describe("branch, tag or commit of a model on the Hub"),
  adapter: adapterSchema.prefault({}).describe("what is trained"),
  data: dataSchema.describe("where examples come from"),
  partition: partitionSchema.describe("who holds which examples"),
  training: trainingSchema.prefault({}).describe("a client's local training"),
  runtime: runtimeSchema.prefault({}).describe("how the machine is used"),
  federation: federationSchema.prefault({}).describe("rounds and strategy"),
  compare: z
    .array(compared)
    .min(1, "expected one of base, local, global, federated at least")
    .default(["base", "federated"])
    .describe("what is compared: the base, each client alone, all data pooled, the federation"),
  benchmarks: z.array(benchmarkSchema).default([]).describe("what else everything that is compared is judged by at the end: benchmarks of `fedtune evaluate` with their settings, such as `{ name: rouge-l, limit: 50 }`; those on rows are asked the experiment's own held-out rows unless they have a path"),
  samples: samplesSchema.prefault({}).describe("texts before and after"),
  output: z.string().min(1).default("runs").describe("folder that run folders are made in"),
});
const axesSchema = z.record(z.string().min(1).refine((field) => !field.split(".").includes("__proto__")), z.array(z.unknown()).min(1));
/** Fields by dotted path with their values, or a list of such groups. */
export const matrixSchema = z.union([axesSchema, z.array(axesSchema).min(1)]);

/** What a config file may hold: an experiment, or a matrix of them. */
export const experimentFileSchema = experimentSchema.extend({
  matrix: matrixSchema.optional().describe("fields by dotted path, each with a list of values, such as `seed: [1, 2, 3]`: every combination is a run of its own; a list of such groups is all of their combinations"),
});
export type ExperimentConfig = z.infer<typeof experimentSchema>;

/** A config that is checked; its paths are absolute. */
export interface Experiment {
  readonly config: ExperimentConfig;
  /** What sets it apart from others of its name, for its run folder's; absent: nothing. */
  readonly label?: string;
  /** The file that it came from, for messages; absent where it was given as an object. */
  readonly file?: string;
}
