/**
 * LongRoPE (Ding et al. 2024, eq. 5) within the length of the original training: each frequency has a factor of its own.
 * Texts that are longer rotate all their tokens by other factors; they are refused, since examples of a pack share one table.
 */
import { z } from "zod";
import { rotaryBasis, scalingError, type RotaryConfig, type RotaryFrequencies } from "./rotary.ts";

const positive = z.number().positive();
const longrope = z.looseObject({ short_factor: z.array(positive), factor: positive.nullish(), attention_factor: positive.nullish() });

export interface LongRotaryConfig extends RotaryConfig {
  /** Longest text, in tokens, for which the short factors hold. */
  readonly original_max_position_embeddings: number;
}

/** The names that Phi-3's configs have had for it. */
const NAMES = ["longrope", "su", "yarn"];

/**
 * Frequencies for heads of width E, and the number of positions up to which they hold.
 * Throws FedtuneError("model") for another scaling, and for factors that do not fit the head.
 */
export function longRotaryFrequencies(config: LongRotaryConfig, headWidth: number, where: string): RotaryFrequencies & { readonly maxPositions: number } {
  const basis = rotaryBasis(config, headWidth, where);
  const { max_position_embeddings: longest, original_max_position_embeddings: original } = config;
  if (basis.type === "default") return { frequencies: basis.plain, attentionFactor: 1, maxPositions: longest };
  const settings = longrope.safeParse(basis.settings);
  if (!NAMES.includes(basis.type) || !settings.success || settings.data.short_factor.length !== basis.plain.length) throw scalingError(basis, ["default", ...NAMES], where);
  const { short_factor, factor, attention_factor } = settings.data;
  const ratio = factor ?? longest / original;
  return {
    frequencies: basis.plain.map((f, i) => f / (short_factor[i] ?? 1)),
    attentionFactor: attention_factor ?? (ratio <= 1 ? 1 : Math.sqrt(1 + Math.log(ratio) / Math.log(original))),
    maxPositions: Math.min(longest, original),
  };
}
