/** Rotary position embedding: frequencies from a config, cosines and sines in the graph. */
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import { multiplyDims } from "../../engine/graph/dims.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";

const positive = z.number().positive();

const scalings = z.discriminatedUnion("rope_type", [
  z.looseObject({ rope_type: z.literal("default") }),
  z.looseObject({ rope_type: z.literal("linear"), factor: positive }),
  z.looseObject({ rope_type: z.literal("llama3"), factor: positive, low_freq_factor: positive, high_freq_factor: positive, original_max_position_embeddings: positive.nullish() })
    .refine((s) => s.low_freq_factor < s.high_freq_factor),
  z.looseObject({
    rope_type: z.literal("yarn"), factor: positive.nullable(), original_max_position_embeddings: positive.nullish(), attention_factor: positive.nullish(),
    mscale: z.number().nullish(), mscale_all_dim: z.number().nullish(), beta_fast: positive.nullish(), beta_slow: positive.nullish(), truncate: z.boolean().nullable().default(true),
  }),
]);
type Scaling = z.infer<typeof scalings>;
const SCALING_NAMES = ["default", "linear", "llama3", "yarn"];

/** The places where transformers 4 (`rope_theta`, `rope_scaling`) and 5 (`rope_parameters`) write rotary settings. */
export const rotaryFields = {
  rope_theta: positive.optional(),
  rope_scaling: z.looseObject({}).nullish(),
  rope_parameters: z.looseObject({}).nullish(),
  partial_rotary_factor: z.number().positive().max(1).nullish(),
  original_max_position_embeddings: positive.nullish(),
};

/** Rotary settings of a config, or of one kind of its layers. */
export interface RotaryConfig {
  readonly rope_theta?: number | undefined;
  readonly rope_scaling?: Readonly<Record<string, unknown>> | null | undefined;
  readonly rope_parameters?: Readonly<Record<string, unknown>> | null | undefined;
  readonly partial_rotary_factor?: number | null | undefined;
  readonly max_position_embeddings: number;
  /** Where a config says it outside of its rotary settings, it overrides what they say. */
  readonly original_max_position_embeddings?: number | null | undefined;
}

export interface RotaryFrequencies {
  /** `[R / 2]` in radians per position, R the elements of a head that turn. */
  readonly frequencies: Float64Array;
  /** Cosines and sines are multiplied by it; 1 but for YaRN. */
  readonly attentionFactor: number;
}

/** A config's rotary settings, and the frequencies before any scaling. */
export interface RotaryBasis {
  /** Which field of config.json says it. */
  readonly field: string;
  readonly settings: Readonly<Record<string, unknown>>;
  /** `rope_type`, or its older name `type`. */
  readonly type: string;
  readonly theta: number;
  /** Elements of a head that turn. */
  readonly width: number;
  /** theta^(−2i / width), `[width / 2]` (Su et al. 2021, eq. 15). */
  readonly plain: Float64Array;
}

/**
 * Rotary settings as transformers reads them (`rope_scaling` where it says anything, else `rope_parameters`) for heads of width E.
 * Throws FedtuneError("model") for numbers that make no rotation, and for settings that differ by layer.
 */
export function rotaryBasis(config: RotaryConfig, headWidth: number, where: string): RotaryBasis {
  const field = config.rope_scaling != null && Object.keys(config.rope_scaling).length > 0 ? "rope_scaling" : "rope_parameters";
  const settings = config[field] ?? {};
  const nested = Object.entries(settings).find(([, value]) => value !== null && typeof value === "object" && !Array.isArray(value));
  if (nested !== undefined) throw new FedtuneError("model", { where: `${where}: ${field}.${nested[0]}`, expected: "a number or a word, since all layers rotate alike", got: JSON.stringify(nested[1]) });
  const theta = positive.safeParse(settings["rope_theta"] ?? config.rope_theta ?? 10_000);
  if (!theta.success) throw new FedtuneError("model", { where: `${where}: rope_theta`, expected: "a positive number", got: JSON.stringify(settings["rope_theta"] ?? config.rope_theta) });
  const asked = settings["partial_rotary_factor"] ?? config.partial_rotary_factor ?? 1;
  const share = z.number().positive().max(1).safeParse(asked);
  const width = Math.trunc(headWidth * (share.data ?? 0));
  if (width < 2 || width % 2 !== 0) throw new FedtuneError("model", { where: `${where}: partial_rotary_factor`, expected: `a share of the head's width ${headWidth} that is an even number of elements`, got: JSON.stringify(asked) });
  const type = settings["rope_type"] ?? settings["type"] ?? "default";
  return {
    field, settings, type: typeof type === "string" ? type : JSON.stringify(type), theta: theta.data, width,
    plain: Float64Array.from({ length: width / 2 }, (_, i) => theta.data ** (-(2 * i) / width)),
  };
}

/** The error for a kind of scaling, or numbers of one, that `supported` does not have. */
export function scalingError({ field, settings, type }: RotaryBasis, supported: readonly string[], where: string): FedtuneError {
  const known = supported.includes(type);
  return new FedtuneError("model", {
    where: `${where}: ${field}`,
    expected: known ? `the numbers that ${type} scaling needs` : `a rotary scaling that is supported (${supported.join(", ")})`,
    got: known ? JSON.stringify(settings) : `\`${type}\``,
  });
}

/**
 * Frequencies for heads of width E. `llama3` scaling as in Meta's Llama 3.1 reference code: long wavelengths are slowed by
 * `factor`, short ones kept, those between interpolated. `yarn` as Peng et al. 2023, section 3.
 * Throws FedtuneError("model") where the config asks for a scaling that is not supported.
 */
export function rotaryFrequencies(config: RotaryConfig, headWidth: number, where: string): RotaryFrequencies {
  const basis = rotaryBasis(config, headWidth, where);
  const scaling = scalings.safeParse({ ...basis.settings, rope_type: basis.type });
  if (!scaling.success) throw scalingError(basis, SCALING_NAMES, where);
  const original = scaling.data["original_max_position_embeddings"];
  const trained = config.original_max_position_embeddings ?? (typeof original === "number" ? original : config.max_position_embeddings);
  return scaled(scaling.data, basis.plain, { theta: basis.theta, width: basis.width, trained, maxPositions: config.max_position_embeddings });
}

interface RotaryBase {
  readonly theta: number;
  readonly width: number;
  /** Longest sequence of the training before the scaling, and after it. */
  readonly trained: number;
  readonly maxPositions: number;
}

function scaled(s: Scaling, plain: Float64Array, base: RotaryBase): RotaryFrequencies {
  if (s.rope_type === "default") return { frequencies: plain, attentionFactor: 1 };
  if (s.rope_type === "linear") return { frequencies: plain.map((f) => f / s.factor), attentionFactor: 1 };
  if (s.rope_type === "yarn") return yarn(s, plain, base);
  const frequencies = plain.map((f) => {
    const turns = (base.trained * f) / (2 * Math.PI);
    const smooth = Math.min(1, Math.max(0, (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor)));
    return (1 - smooth) * (f / s.factor) + smooth * f;
  });
  return { frequencies, attentionFactor: 1 };
}

/** Dimensions that turn often within the trained length keep their frequency, slow ones are interpolated, those between mixed. */
function yarn(s: Extract<Scaling, { rope_type: "yarn" }>, plain: Float64Array, { theta, width, trained, maxPositions }: RotaryBase): RotaryFrequencies {
  const factor = s.factor ?? maxPositions / trained;
  const dimensionOf = (turns: number): number => (width * Math.log(trained / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const [first, last] = [dimensionOf(s.beta_fast ?? 32), dimensionOf(s.beta_slow ?? 1)];
  const low = Math.max(s.truncate === true ? Math.floor(first) : first, 0);
  const end = Math.min(s.truncate === true ? Math.ceil(last) : last, width - 1);
  const high = low === end ? end + 0.001 : end;
  const magnitude = (m: number): number => (factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1);
  const both = Boolean(s.mscale) && Boolean(s.mscale_all_dim);
  return {
    frequencies: plain.map((f, i) => {
      const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)));
      return (f / factor) * ramp + f * (1 - ramp);
    }),
    attentionFactor: s.attention_factor ?? (both ? magnitude(s.mscale ?? 1) / magnitude(s.mscale_all_dim ?? 1) : magnitude(1)),
  };
}

/** Cosines and sines `[X, T, R/2]`, for rotations of the first R elements of each head. */
export interface RotaryTables {
  readonly cosine: Value;
  readonly sine: Value;
}

/** Tables of int32 positions `[C, B, T]` for frequencies `[R / 2]`; `attentionFactor` scales both (YaRN; Peng et al. 2023, eq. 22). */
export function rotaryTables(positions: Value, { frequencies, attentionFactor }: RotaryFrequencies): RotaryTables {
  const [c = 1, b = 1, t = 1] = positions.shape;
  const inverse = positions.builder.constant(tensor("float32", [frequencies.length], Float32Array.from(frequencies)));
  const angles = g.mul(g.reshape(g.cast(positions, "float32"), [multiplyDims(c, b), t, 1]), inverse); // [X, T, R/2]
  const scaled = (x: Value): Value => (attentionFactor === 1 ? x : g.mul(x, attentionFactor));
  return { cosine: scaled(g.cos(angles)), sine: scaled(g.sin(angles)) };
}

/** `[X, T, H·E]` with the first R elements of each head rotated, R as wide as the tables say. */
export function rotate(x: Value, { cosine, sine }: RotaryTables, { heads, width }: { readonly heads: number; readonly width: number }): Value {
  const rotated = 2 * Number(cosine.shape[2]);
  if (rotated === width) return g.rotaryEmbedding(x, cosine, sine);
  const [rows = 1, tokens = 1] = x.shape;
  const [turning = x, still = x] = g.split(g.reshape(x, [rows, tokens, heads, width]), 3, [rotated, width - rotated]);
  const turned = g.rotaryEmbedding(g.reshape(turning, [rows, tokens, heads * rotated]), cosine, sine);
  return g.reshape(g.concat([g.reshape(turned, [rows, tokens, heads, rotated]), still], 3), x.shape);
}
