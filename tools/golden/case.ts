/** Recorded cases: where they lie, what case.json says, and its batch as feeds of fedtune's graphs. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { tensor } from "../../src/core/base/tensor.ts";
import type { Tensor } from "../../src/core/base/tensor.ts";

const rows = z.array(z.array(z.int()));
const caseSchema = z.object({
  input_ids: rows, labels: rows, attention_mask: rows, losses: z.array(z.number()), model: z.string(),
  optimizer: z.discriminatedUnion("name", [
    z.object({ name: z.literal("AdamW"), lr: z.number(), betas: z.tuple([z.number(), z.number()]), eps: z.number(), weight_decay: z.number(), steps: z.int() }),
    z.object({ name: z.literal("SGD"), lr: z.number(), momentum: z.number(), weight_decay: z.number(), steps: z.int() }),
  ]),
  merged_loss: z.number().optional(), base_loss: z.number().optional(),
});
/** A recorded case: batch, losses and the optimiser's settings. */
export type Case = z.infer<typeof caseSchema>;

/** The batch of a case, as the loss graphs take it. */
export interface Batch {
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly labelled: number;
}

/** The recorded batch: right-padded rows of one example each. */
export function batchOf({ input_ids, labels, attention_mask }: Case): Batch {
  const [b, t] = [input_ids.length, input_ids[0]?.length ?? 0];
  const at: number[] = [];
  const targets: number[] = [];
  labels.forEach((row, r) => row.forEach((label, c) => {
    if (c === 0 || label === -100) return;
    at.push(r * t + c - 1);
    targets.push(label);
  }));
  const grid = (values: readonly number[]): Tensor => tensor("int32", [1, b, t], Int32Array.from(values));
  const line = (values: readonly number[]): Tensor => tensor("int32", [1, values.length], Int32Array.from(values));
  return {
    labelled: at.length,
    feeds: {
      ids: grid(input_ids.flat()), segments: grid(attention_mask.flat()), positions: grid(attention_mask.flatMap((row) => row.map((m, c) => (m === 1 ? c : 0)))),
      labelled_rows: line(at), targets: line(targets), weights: tensor("float32", [1, at.length], new Float32Array(at.length).fill(1)),
    },
  };
}

/** Reads case.json of a folder. Throws where it is missing or of another form. */
export function readCase(folder: string): Case {
  return caseSchema.parse(JSON.parse(readFileSync(join(folder, "case.json"), "utf8")));
}

/** Case folders at or below a path, sorted; none where the path is not a folder. */
export function findCases(path: string): string[] {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return [];
  if (existsSync(join(path, "case.json"))) return [path];
  return readdirSync(path, { withFileTypes: true }).filter((e) => e.isDirectory()).flatMap((e) => findCases(join(path, e.name))).sort();
}
