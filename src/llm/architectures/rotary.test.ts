import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { inverseFrequencies, type RotaryFields } from "./rotary.ts";

const frequencies = (config: RotaryFields): Float64Array => inverseFrequencies(config, 8, "test");
const PLAIN = [1, 500 ** -0.25, 500 ** -0.5, 500 ** -0.75];

describe("rotary frequencies", () => {
  test("are powers of theta, wherever transformers 4 and 5 write it; 10000 where nobody does", () => {
    expect(relativeError(frequencies({ rope_theta: 500 }), PLAIN)).toBeLessThan(1e-15);
    expect(frequencies({ rope_parameters: { rope_theta: 500, rope_type: "default" } })).toEqual(frequencies({ rope_theta: 500 }));
    expect(frequencies({ rope_theta: 7, rope_parameters: { rope_theta: 500 } })).toEqual(frequencies({ rope_theta: 500 }));
    expect(frequencies({ rope_theta: 500, rope_scaling: null, rope_parameters: null })).toEqual(frequencies({ rope_theta: 500 }));
    expect(frequencies({})[1]).toBeCloseTo(0.1, 15);
  });

  test("are divided by the factor of a linear scaling, under its old and its new name", () => {
    const expected = PLAIN.map((f) => f / 4);
    expect(relativeError(frequencies({ rope_theta: 500, rope_scaling: { type: "linear", factor: 4 } }), expected)).toBeLessThan(1e-15);
    expect(relativeError(frequencies({ rope_theta: 500, rope_scaling: { rope_type: "linear", factor: 4 } }), expected)).toBeLessThan(1e-15);
  });

  test("of llama3 keep short waves, slow long ones by the factor and go over between", () => {
    // Turns of the four over 64 positions: 10.2, 2.15, 0.456, 0.0963; between 0.3 and 3 they are mixed.
    const rope_scaling = { rope_type: "llama3", factor: 8, low_freq_factor: 0.3, high_freq_factor: 3, original_max_position_embeddings: 64 };
    const mixed = (f: number): number => {
      const smooth = ((64 * f) / (2 * Math.PI) - 0.3) / 2.7;
      return (1 - smooth) * (f / 8) + smooth * f;
    };
    const [a = 0, b = 0, c = 0, d = 0] = PLAIN;
    expect(relativeError(frequencies({ rope_theta: 500, rope_scaling }), [a, mixed(b), mixed(c), d / 8])).toBeLessThan(1e-14);
    expect(frequencies({ rope_parameters: { rope_theta: 500, ...rope_scaling } })).toEqual(frequencies({ rope_theta: 500, rope_scaling }));
  });
});
