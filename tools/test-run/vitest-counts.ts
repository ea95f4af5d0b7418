/** Reads vitest's JSON report into numbers. A file that could not be loaded counts as one failure, for its tests never ran. */
import { z } from "zod";

const reportSchema = z.object({
  numPassedTests: z.int(),
  numFailedTests: z.int(),
  numPendingTests: z.int(),
  testResults: z.array(z.object({ name: z.string(), status: z.string(), assertionResults: z.array(z.object({ status: z.string() })) })),
});

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/**
 * Counts of one run. `exitCode` is vitest's own: where it is not 0 and no test failed (an unhandled rejection, no report at
 * all), one failure is counted so that it cannot get lost.
 */
export function countTests(report: string | undefined, exitCode: number): Counts {
  const parsed = report === undefined ? undefined : reportSchema.safeParse(JSON.parse(report)).data;
  if (parsed === undefined) return { passed: 0, failed: 1, skipped: 0 };
  const broken = parsed.testResults.filter((file) => file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed"));
  const failed = parsed.numFailedTests + broken.length;
  return { passed: parsed.numPassedTests, failed: failed === 0 && exitCode !== 0 ? 1 : failed, skipped: parsed.numPendingTests };
}
