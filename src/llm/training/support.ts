/** Which architecture works under which adapter method, and what was compared with PyTorch: from the records and the recorded results. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { ADAPTER_METHODS } from "../adapters/all.ts";
import { ARCHITECTURES } from "../architectures/all.ts";

/** Written by `npm run golden -- … --record`. */
const RESULTS = new URL("../../../assets/checked.json", import.meta.url);

const pair = { architecture: z.string(), method: z.string() };
const resultsSchema = z.object({
  cases: z.array(z.object({
    case: z.string(), ...pair,
    witness: z.object({ torch: z.string(), transformers: z.string(), peft: z.string() }),
    differences: z.record(z.string(), z.number()),
  })),
  without: z.array(z.object({ ...pair, reason: z.string() })),
});

/** One recorded case that fedtune passed: relative differences by measure. */
export type CheckedCase = z.infer<typeof resultsSchema>["cases"][number];

/** One architecture under one method. */
export interface Support {
  readonly architecture: string;
  readonly method: string;
  /** Recorded PyTorch cases that it passes; none where it was checked against equations only. */
  readonly cases: readonly CheckedCase[];
  /** Why they do not fit, as models of the architecture usually are; absent where they do. */
  readonly without?: string;
}

/** Every architecture under every method, in the records' order. */
export function supportTable(): readonly Support[] {
  const results = resultsSchema.parse(JSON.parse(readFileSync(fileURLToPath(RESULTS), "utf8")));
  return Object.keys(ARCHITECTURES).flatMap((architecture) =>
    Object.keys(ADAPTER_METHODS).map((method) => {
      const isThis = (r: { readonly architecture: string; readonly method: string }): boolean => r.architecture === architecture && r.method === method;
      const reason = results.without.find(isThis)?.reason;
      return { architecture, method, cases: results.cases.filter(isThis), ...(reason === undefined ? {} : { without: reason }) };
    }),
  );
}
