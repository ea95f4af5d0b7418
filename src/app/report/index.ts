/** Figures and wording that terminal and page share. The page itself is `render.ts`, loaded apart because of its drawing library. */
export { makeBenchmarkTable } from "./benchmark-table.ts";
export type { BenchmarkRow } from "./benchmark-table.ts";
export { collectFacts } from "./facts.ts";
export { formatBytes, formatCount, formatFigure, formatLoss, formatMeasure, formatPerplexity, formatSeconds, formatThings } from "./format.ts";
export { writeHeadline } from "./headline.ts";
export { makeResultTable } from "./result-table.ts";
export { COLUMNS } from "./result-table.ts";
export type { Column, ResultTable } from "./result-table.ts";
export { describeSpread } from "./sections/benchmarks.ts";
export { describeExamplesSeen } from "./sections/results.ts";
export type { CategoryCounts } from "./sections/charts.ts";
