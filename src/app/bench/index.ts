/** Measurements, for the command line. */
export { benchRound } from "./round.ts";
export { benchStep } from "./step.ts";
