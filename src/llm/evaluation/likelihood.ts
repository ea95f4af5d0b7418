/** Which of given answers is the likeliest, with or without what their lengths do to it taken out. */
import { z } from "zod";
import type { ScoredChoice } from "./benchmark.ts";

/** How long an answer is: what its log-likelihood is divided by. */
const LENGTHS = {
  none: () => 1,
  tokens: ({ tokens }: ScoredChoice) => tokens,
  // Code points, as Python counts.
  characters: (_: ScoredChoice, text: string) => Array.from(text).length,
  bytes: (_: ScoredChoice, text: string) => Buffer.byteLength(text),
} as const;
type Normalisation = keyof typeof LENGTHS;

/** The setting that names one of them. */
export function normalisationField(standard: Normalisation) {
  return z.enum(["none", "tokens", "characters", "bytes"]).default(standard).describe("what an answer's log-likelihood is divided by, so that long ones are not at a disadvantage");
}

/**
 * Place from 0 of the likeliest answer, the first of equals.
 * @param texts of the answers, without what separates them from the prompt
 */
export function likeliest(scored: readonly ScoredChoice[], texts: readonly string[], normalisation: Normalisation): number {
  const likelihoods = scored.map((score, c) => score.logLikelihood / LENGTHS[normalisation](score, texts[c] ?? ""));
  return likelihoods.indexOf(Math.max(...likelihoods));
}
