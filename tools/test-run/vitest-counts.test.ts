import { describe, expect, it } from "vitest";
import { countTests } from "./vitest-counts.ts";

const report = (parts: object): string => JSON.stringify({ numPassedTests: 5, numFailedTests: 0, numPendingTests: 2, testResults: [], ...parts });

describe("counting tests", () => {
  it("takes the numbers of a clean run", () => {
    expect(countTests(report({}), 0)).toEqual({ passed: 5, failed: 0, skipped: 2 });
  });

  it("counts a file that does not load as one failure", () => {
    const testResults = [
      { name: "a.test.ts", status: "failed", assertionResults: [] },
      { name: "b.test.ts", status: "failed", assertionResults: [{ status: "passed" }, { status: "failed" }] },
    ];
    expect(countTests(report({ numFailedTests: 3, testResults }), 1)).toEqual({ passed: 5, failed: 4, skipped: 2 });
  });

  it("counts a failing exit without a failing test as one failure", () => {
    expect(countTests(report({}), 1)).toMatchObject({ passed: 5, failed: 1 });
  });

  it("counts a run without a report as one failure", () => {
    expect(countTests(undefined, 0)).toMatchObject({ passed: 0, failed: 1 });
    expect(countTests("{}", 0)).toMatchObject({ passed: 0, failed: 1 });
  });
});
