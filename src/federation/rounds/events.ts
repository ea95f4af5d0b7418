/**
 * What happens in a run, as data. Transitions go to `journal.jsonl` and are durable before their effect is relied on;
 * ticks go to `metrics.jsonl`, whose tail may be lost. Progress, report and resume are folds of these two files.
 */
import { z } from "zod";

const count = z.number().int().nonnegative();
const hash = z.string().regex(/^[0-9a-f]{64}$/);
const time = z.iso.datetime();

/** What is trained: the federation itself, one client alone, or all data pooled at one place. */
export const scenarioSchema = z.union([z.literal("federated"), z.literal("global"), z.templateLiteral(["local/", z.int()]).refine((name) => !name.includes("-"))]);
export type Scenario = z.infer<typeof scenarioSchema>;

/** Summed loss over labelled tokens; perplexity is exp(nll / labelledTokens). */
export const lossSumSchema = z.object({ nll: z.number().nullable(), labelledTokens: count, examples: count });
export type LossSum = z.infer<typeof lossSumSchema>;

const clientLossSchema = lossSumSchema.extend({ client: count });

const clientUpdateSchema = z.object({
  client: count,
  /** Weight in the average, before normalisation. */
  weight: z.number(),
  examples: count,
  tokens: count,
  steps: count,
  skippedSteps: count,
  /** Mean training loss (nats per labelled token). */
  loss: z.number().nullable(),
  /** Bytes of the adapter as sent to the client and of the update as sent back. */
  bytesDown: count,
  bytesUp: count,
});

/** A measured value with its 95 % confidence interval, as a benchmark gives it. */
const figureSchema = z.object({
  name: z.string(),
  group: z.object({ kind: z.string(), name: z.string() }).optional(),
  unit: z.enum(["share", "number"]),
  /** Which of two values is the better one. Absent: the higher. */
  better: z.enum(["higher", "lower"]).optional(),
  value: z.number().nullable(),
  low: z.number().nullable(),
  high: z.number().nullable(),
  interval: z.string(),
  questions: count,
});

const keptSchema = z.object({ scenario: z.enum(["federated", "global"]), best: hash, last: hash, bestRound: count, lastRound: count, chosen: z.enum(["best", "last"]) });

const clientFailureSchema = z.object({ client: count, code: z.string(), reason: z.string() });

export const journalEventSchema = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("run-started"),
    journalVersion: z.literal(1),
    at: time,
    name: z.string(),
    /** SHA-256 of the resolved plan; a resume refuses a run whose plan changed. */
    plan: hash,
    versions: z.record(z.string(), z.string()),
    machine: z.string(),
    /** Where the graphs run, where that is not the machine's CPU: "webgpu, NVIDIA H200". */
    device: z.string().optional(),
    clients: z.array(z.object({ name: z.string(), train: count, validation: count, test: count })),
    globalTest: count,
    trainableParameters: count,
    baseParameters: count,
    /** Parameters of the base and those that the adapter adds; absent in runs of earlier versions. */
    allParameters: count.optional(),
    /** Bytes of one adapter as sent. */
    adapterBytes: count,
    rounds: count,
    localSteps: count,
    batchSize: count,
    scenarios: z.array(scenarioSchema),
    /** Blob of the adapter before round 1. */
    initial: hash.optional(),
  }),
  z.object({ type: z.literal("run-resumed"), at: time }),
  z.object({ type: z.literal("round-started"), at: time, scenario: scenarioSchema, round: count, clients: z.array(count) }),
  z.object({
    type: z.literal("round-committed"),
    at: time,
    scenario: scenarioSchema,
    round: count,
    /** Blob of the adapter after this round. */
    adapter: hash,
    /** Blobs of each client's optimiser state, by client, where moments are carried on (clients of earlier rounds included). */
    optimizers: z.record(z.string(), hash),
    updates: z.array(clientUpdateSchema),
    failures: z.array(clientFailureSchema),
    /** ‖mean(B)mean(A) − mean(BA)‖ / ‖mean(BA)‖ over the factor pairs: what averaging factors loses. Absent with one client. */
    crossTerm: z.number().nullable().optional(),
    seconds: z.number(),
    /** Most resident memory (bytes) that the process was seen to have during the round. */
    peakBytes: count.optional(),
  }),
  z.object({
    type: z.literal("evaluated"),
    at: time,
    /** "base": the model without an adapter. */
    scenario: z.union([scenarioSchema, z.literal("base")]),
    /** Rounds behind the adapter; 0 for the base. */
    round: count,
    /** Which rows: the clients' own validation or test rows, or the global test. */
    split: z.enum(["validation", "test", "global-test"]),
    /** Per client (empty for the global test), and all together. */
    clients: z.array(clientLossSchema),
    pooled: lossSumSchema,
    /** Whether this is the lowest pooled validation loss of the scenario so far (never set from test rows). */
    best: z.boolean(),
  }),
  z.object({
    type: z.literal("sampled"),
    at: time,
    scenario: z.union([scenarioSchema, z.literal("base")]),
    prompt: z.string(),
    text: z.string(),
  }),
  z.object({
    type: z.literal("benchmarked"),
    at: time,
    scenario: z.union([scenarioSchema, z.literal("base")]),
    /** Rounds behind the adapter; 0 for the base. */
    round: count,
    /** The benchmark's place in the config's list, what it is called in tables, and its name. */
    place: count,
    label: z.string(),
    benchmark: z.string(),
    /** Questions that were asked, and that the figures rest on. */
    asked: count,
    counted: count,
    /** The first is the headline. */
    figures: z.array(figureSchema),
    notes: z.array(z.string()),
    seconds: z.number(),
  }),
  z.object({
    type: z.literal("run-finished"),
    at: time,
    /**
     * What `adapter/` holds: the federation's or the pooled data's adapter, of the best or of the last round, with the blobs of both.
     * Absent where neither was trained: then there is none.
     */
    kept: keptSchema.optional(),
    seconds: z.number(),
  }),
]);
export type JournalEvent = z.infer<typeof journalEventSchema>;

/** One optimiser step of one client. */
const stepTickSchema = z.object({
  type: z.literal("step"),
  at: time,
  scenario: scenarioSchema,
  round: count,
  client: count,
  step: count,
  loss: z.number().nullable(),
  learningRate: z.number(),
  gradientNorm: z.number().nullable(),
  skipped: z.boolean(),
  examples: count,
  tokens: count,
  /** What the loss was multiplied by in float16; absent in other dtypes. */
  lossScale: z.number().positive().optional(),
});
/** Something said to the reader that changes nothing: what was truncated or dropped, which choice was taken. */
const noteTickSchema = z.object({ type: z.literal("note"), at: time, level: z.enum(["info", "warning"]), text: z.string() });
/** How far a long preparation is (tokenising, evaluating): shown, not needed afterwards. */
const progressTickSchema = z.object({ type: z.literal("progress"), at: time, stage: z.string(), done: count, total: count });

export const tickSchema = z.discriminatedUnion("type", [stepTickSchema, noteTickSchema, progressTickSchema]);
export type Tick = z.infer<typeof tickSchema>;

/** What `for await (const event of run(…))` yields. */
export type RunEvent = JournalEvent | Tick;
