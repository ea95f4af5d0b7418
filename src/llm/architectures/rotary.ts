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
  z.looseObject({ rope_type: z.literal("llama3"), factor: positive, low_freq_factor: positive, high_freq_factor: positive, original_max_position_embeddings: positive }),
  z.looseObject({
    rope_type: z.literal("yarn"), factor: positive, original_max_position_embeddings: positive.nullish(), attention_factor: positive.nullish(),
    mscale: z.number().nullish(), mscale_all_dim: z.number().nullish(), beta_fast: positive.nullish(), beta_slow: positive.nullish(), truncate: z.boolean().nullish(),
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
};

/** Rotary settings of a config, or of one kind of its layers. */
export interface RotaryConfig {
  readonly rope_theta?: number | undefined;
  readonly rope_scaling?: Readonly<Record<string, unknown>> | null | undefined;
  readonly rope_parameters?: Readonly<Record<string, unknown>> | null | undefined;
  readonly partial_rotary_factor?: number | null | undefined;
  readonly max_position_embeddings: number;
}

export interface RotaryFrequencies {
  /** `[R / 2]` in radians per position, R the elements of a head that turn. */
  readonly frequencies: Float64Array;
  /** Cosines and sines are multiplied by it; 1 but for YaRN. */
  readonly attentionFactor: number;
}

/**
 * Frequencies for heads of width E. `llama3` scaling as in Meta's Llama 3.1 reference code: long wavelengths are slowed by
 * `factor`, short ones kept, those between interpolated. `yarn` as Peng et al. 2023, section 3.
 * Throws FedtuneError("model") where the config asks for a scaling that is not supported.
 */
export function rotaryFrequencies(config: RotaryConfig, headWidth: number, where: string): RotaryFrequencies {
  const settings: Readonly<Record<string, unknown>> = { ...config.rope_scaling, ...config.rope_parameters };
  const theta = positive.safeParse(settings["rope_theta"] ?? config.rope_theta ?? 10_000);
  const asked = settings["rope_type"] ?? settings["type"] ?? "default";
  const type = typeof asked === "string" ? asked : JSON.stringify(asked);
  const field = config.rope_parameters == null ? "rope_scaling" : "rope_parameters";
  const scaling = scalings.safeParse({ ...settings, rope_type: type });
  const share = z.number().positive().max(1).safeParse(settings["partial_rotary_factor"] ?? config.partial_rotary_factor ?? 1);
  const turning = Math.trunc(headWidth * (share.data ?? 0));
  if (turning < 2 || turning % 2 !== 0) throw new FedtuneError("model", { where: `${where}: partial_rotary_factor`, expected: `a share of the head's width ${headWidth} that is an even number of elements`, got: JSON.stringify(settings["partial_rotary_factor"] ?? config.partial_rotary_factor) });
  if (!theta.success) throw new FedtuneError("model", { where: `${where}: rope_theta`, expected: "a positive number", got: JSON.stringify(settings["rope_theta"] ?? config.rope_theta) });
  if (!scaling.success) {
    const known = SCALING_NAMES.includes(type);
    throw new FedtuneError("model", {
      where: `${where}: ${field}`,
      expected: known ? `the numbers that ${type} scaling needs` : `a rotary scaling that is supported (${SCALING_NAMES.join(", ")})`,
      got: known ? JSON.stringify(settings) : `\`${type}\``,
    });
  }
  const plain = Float64Array.from({ length: turning / 2 }, (_, i) => theta.data ** (-(2 * i) / turning));
  return scaled(scaling.data, plain, { theta: theta.data, width: turning, maxPositions: config.max_position_embeddings });
}

interface RotaryBase {
  readonly theta: number;
  readonly width: number;
  readonly maxPositions: number;
}

function scaled(s: Scaling, plain: Float64Array, base: RotaryBase): RotaryFrequencies {
  if (s.rope_type === "default") return { frequencies: plain, attentionFactor: 1 };
  if (s.rope_type === "linear") return { frequencies: plain.map((f) => f / s.factor), attentionFactor: 1 };
  if (s.rope_type === "yarn") return yarn(s, plain, base);
  const frequencies = plain.map((f) => {
    const turns = (s.original_max_position_embeddings * f) / (2 * Math.PI);
    const smooth = Math.min(1, Math.max(0, (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor)));
    return (1 - smooth) * (f / s.factor) + smooth * f;
  });
  return { frequencies, attentionFactor: 1 };
}

/** Dimensions that turn often within the trained length keep their frequency, slow ones are interpolated, those between mixed. */
function yarn(s: Extract<Scaling, { rope_type: "yarn" }>, plain: Float64Array, { theta, width, maxPositions }: RotaryBase): RotaryFrequencies {
  const trained = s.original_max_position_embeddings ?? maxPositions;
  const dimensionOf = (turns: number): number => (width * Math.log(trained / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const [first, last] = [dimensionOf(s.beta_fast ?? 32), dimensionOf(s.beta_slow ?? 1)];
  const whole = s.truncate ?? true;
  const low = Math.max(whole ? Math.floor(first) : first, 0);
  const end = Math.min(whole ? Math.ceil(last) : last, width - 1);
  const high = low === end ? end + 0.001 : end;
  const magnitude = (m: number): number => (s.factor <= 1 ? 1 : 0.1 * m * Math.log(s.factor) + 1);
  const both = Boolean(s.mscale) && Boolean(s.mscale_all_dim);
  return {
    frequencies: plain.map((f, i) => {
      const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)));
      return (f / s.factor) * ramp + f * (1 - ramp);
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
