/** Rotary position embedding: frequencies from a config, cosines and sines in the graph. */
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";

const positive = z.number().positive();

const scalings = z.discriminatedUnion("rope_type", [
  z.looseObject({ rope_type: z.literal("default") }),
  z.looseObject({ rope_type: z.literal("linear"), factor: positive }),
  z.looseObject({ rope_type: z.literal("llama3"), factor: positive, low_freq_factor: positive, high_freq_factor: positive, original_max_position_embeddings: positive }),
]);
const SCALING_NAMES = ["default", "linear", "llama3"];

/** The places where transformers 4 (`rope_theta`, `rope_scaling`) and 5 (`rope_parameters`) write rotary settings. */
export const rotaryFields = {
  rope_theta: positive.optional(),
  rope_scaling: z.looseObject({}).nullish(),
  rope_parameters: z.looseObject({}).nullish(),
  partial_rotary_factor: z.literal(1).nullish(),
};
export type RotaryFields = z.infer<z.ZodObject<typeof rotaryFields>>;

/**
 * Inverse frequencies `[E / 2]` in radians per position. `llama3` scaling as in Meta's Llama 3.1 reference code:
 * long wavelengths are slowed by `factor`, short ones kept, those between interpolated.
 * Throws FedtuneError("model") where the config asks for a scaling that is not supported.
 */
export function inverseFrequencies(config: RotaryFields, headWidth: number, where: string): Float64Array {
  const settings: Readonly<Record<string, unknown>> = { ...config.rope_scaling, ...config.rope_parameters };
  const theta = positive.safeParse(settings["rope_theta"] ?? config.rope_theta ?? 10_000);
  const asked = settings["rope_type"] ?? settings["type"] ?? "default";
  const type = typeof asked === "string" ? asked : JSON.stringify(asked);
  const field = config.rope_parameters == null ? "rope_scaling" : "rope_parameters";
  if ((settings["partial_rotary_factor"] ?? 1) !== 1) throw new FedtuneError("model", { where: `${where}: partial_rotary_factor`, expected: "1", got: JSON.stringify(settings["partial_rotary_factor"]) });
  const scaling = scalings.safeParse({ ...settings, rope_type: type });
  if (!theta.success) throw new FedtuneError("model", { where: `${where}: rope_theta`, expected: "a positive number", got: JSON.stringify(settings["rope_theta"] ?? config.rope_theta) });
  if (!scaling.success) {
    const known = SCALING_NAMES.includes(type);
    throw new FedtuneError("model", {
      where: `${where}: ${field}`,
      expected: known ? `the numbers that ${type} scaling needs` : `a rotary scaling that is supported (${SCALING_NAMES.join(", ")})`,
      got: known ? JSON.stringify(settings) : `\`${type}\``,
    });
  }
  const base = Float64Array.from({ length: headWidth / 2 }, (_, i) => theta.data ** (-(2 * i) / headWidth));
  const s = scaling.data;
  if (s.rope_type === "default") return base;
  if (s.rope_type === "linear") return base.map((f) => f / s.factor);
  return base.map((f) => {
    const turns = (s.original_max_position_embeddings * f) / (2 * Math.PI);
    const smooth = Math.min(1, Math.max(0, (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor)));
    return (1 - smooth) * (f / s.factor) + smooth * f;
  });
}

/** Cosines and sines `[X, T, E/2]` of int32 positions `[X, T]`. */
export function rotaryTables(positions: Value, frequencies: Float64Array): { readonly cosine: Value; readonly sine: Value } {
  const [x = 1, t = 1] = positions.shape;
  const inverse = positions.builder.constant(tensor("float32", [frequencies.length], Float32Array.from(frequencies)));
  const angles = g.mul(g.reshape(g.cast(positions, "float32"), [x, t, 1]), inverse); // [X, T, E/2]
  return { cosine: g.cos(angles), sine: g.sin(angles) };
}
