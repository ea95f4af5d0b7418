/** The speaker of a play's lines: the first line of a block where it ends in a colon. */
import type { FieldRule } from "./rule.ts";

/** `First Citizen:` and then what is said. */
const HEADING = /^([^\n:]{1,60}):[ \t]*\n/;

export const speaker: FieldRule = {
  summary: "who speaks: a block's first line where it ends in a colon",
  minExamples: 1,
  derive: ({ text }) => HEADING.exec(text)?.[1]?.trim(),
};
