/** Recorded cases: where they lie, what case.json says, and its batch as feeds of fedtune's graphs. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { VirtualTokens } from "../../src/llm/data/pack.ts";
import type { PackedRows } from "../../src/llm/data/types.ts";

const rows = z.array(z.array(z.int()));
const caseSchema = z.object({
  input_ids: rows, labels: rows, attention_mask: rows, losses: z.array(z.number()), model: z.string(),
  torch: z.string().default("unknown"), transformers: z.string().default("unknown"), peft: z.string().default("unknown"),
  optimizer: z.discriminatedUnion("name", [
    z.object({ name: z.literal("AdamW"), lr: z.number(), betas: z.tuple([z.number(), z.number()]), eps: z.number(), weight_decay: z.number(), steps: z.int() }),
    z.object({ name: z.literal("SGD"), lr: z.number(), momentum: z.number(), weight_decay: z.number(), steps: z.int() }),
  ]),
  merged_loss: z.number().optional(), base_loss: z.number().optional(),
});
/** A recorded case: batch, losses and the optimiser's settings. */
export type Case = z.infer<typeof caseSchema>;

/** The recorded batch: right-padded rows of one example each, the adapter's virtual tokens in front of every row. */
export function rowsOf({ input_ids, labels, attention_mask }: Case, virtual: VirtualTokens): PackedRows {
  const width = virtual.count + (input_ids[0]?.length ?? 0);
  const inFront = Array.from({ length: virtual.count }, (_, i) => i);
  const labelledRows: number[] = [];
  const targets: number[] = [];
  labels.forEach((row, r) => row.forEach((label, c) => {
    if (c === 0 || label === -100) return;
    labelledRows.push(r * width + virtual.count + c - 1);
    targets.push(label);
  }));
  const grid = (rows: readonly (readonly number[])[], first: (i: number) => number): Int32Array => Int32Array.from(rows.flatMap((row) => [...inFront.map(first), ...row]));
  return {
    rows: input_ids.length, width, examples: input_ids.length, tokens: attention_mask.flat().reduce((a, b) => a + b, 0),
    ids: grid(input_ids, (i) => virtual.firstId + i),
    positions: grid(attention_mask.map((row) => row.map((m, c) => (m === 1 ? virtual.count + c : 0))), (i) => i),
    segments: grid(attention_mask, () => 1),
    labelledRows: Int32Array.from(labelledRows), targets: Int32Array.from(targets),
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
