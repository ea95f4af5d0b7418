/** Measurements, for the command line. */
export { benchGenerate } from "./generate.ts";
export { benchLoad } from "./load.ts";
export { benchRound } from "./round.ts";
export { benchStep } from "./step.ts";
export { benchSweep } from "./sweep.ts";
export type { SweepName } from "./sweep.ts";
