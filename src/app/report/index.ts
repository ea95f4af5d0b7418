/** Reports for people: one HTML file per run or comparison, the final table, and the wording that terminal and page share. */
export { collectFacts, scenarioName } from "./facts.ts";
export type { RunFacts } from "./facts.ts";
export { formatBytes, formatCount, formatLoss, formatPerplexity, formatSeconds, formatThings } from "./format.ts";
export { writeHeadline } from "./headline.ts";
export { renderReport } from "./render.ts";
export type { ReportedRun } from "./render.ts";
export { makeResultTable } from "./result-table.ts";
export type { Column, ResultTable } from "./result-table.ts";
export { describeExamplesSeen } from "./sections/results.ts";
export type { CategoryCounts } from "./sections/charts.ts";
