/** The part of the config that the federation owns: strategy, rounds, sampling, weighting, evaluation. */
import { z } from "zod";

const fraction = z.number().gt(0).max(1);

export const federationSchema = z.strictObject({
  strategy: z.string().min(1).default("fedavg").describe("how updates become the next adapter: fedavg, or the path of a TypeScript or JavaScript module of one's own"),
  rounds: z.int().positive().default(10).describe("rounds of the federation; each baseline takes rounds × local_steps steps as well"),
  fraction: fraction.default(1).describe("share of the clients that take part in a round, drawn anew each round"),
  weighting: z.enum(["examples", "tokens", "equal"]).default("examples").describe("what a client's update is weighted by: training examples it holds, their tokens, or nothing"),
  min_clients: z.int().positive().default(1).describe("updates that a round needs; with fewer the run stops"),
  evaluate_every: z.int().positive().default(1).describe("rounds between two evaluations on the validation rows; the last round is always evaluated"),
  keep: z.enum(["best", "last"]).default("best").describe("which adapter is handed over: of the lowest pooled validation loss, or of the last round"),
});
export type FederationSettings = z.infer<typeof federationSchema>;
