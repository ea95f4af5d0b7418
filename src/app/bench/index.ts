/** Measurements, for the command line. */
export { benchStep } from "./step.ts";
export type { StepBenchOptions } from "./step.ts";
