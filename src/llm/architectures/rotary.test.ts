import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { rotaryFrequencies, type RotaryConfig, type RotaryFrequencies } from "./rotary.ts";

type Fields = Partial<RotaryConfig>;
const open = (config: Fields, width = 8): RotaryFrequencies => rotaryFrequencies({ max_position_embeddings: 64, ...config }, width, "test");
const frequencies = (config: Fields): Float64Array => open(config).frequencies;
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

  // What transformers 5.23 computes in float32 for theta 500, heads of width 8 and 256 positions.
  const YARN = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 64 };
  test.each([
    ["by default", {}, 0.1321713924407959, 1.138629436111989],
    ["between dimensions that are not whole", { beta_fast: 4, beta_slow: 0.5, truncate: false }, 0.1642656773328781, 1.138629436111989],
    ["with scales of their own", { mscale: 0.7, mscale_all_dim: 1.3 }, 0.1321713924407959, 0.9295234923939468],
    ["with a given factor", { attention_factor: 1.7 }, 0.1321713924407959, 1.7],
  ])("of yarn and the factor of its cosines are transformers': %s", (_, changes, second, attentionFactor) => {
    const found = open({ rope_theta: 500, rope_scaling: { ...YARN, ...changes } });
    expect(relativeError(found.frequencies, [1, second, 0.011180340312421322, 0.0023643539752811193])).toBeLessThan(1e-7);
    expect(found.attentionFactor).toBeCloseTo(attentionFactor, 12);
  });

  test("of yarn take the trained length from max_position_embeddings where the scaling does not say it", () => {
    const { original_max_position_embeddings: trained, ...rest } = YARN;
    expect(open({ rope_theta: 500, rope_scaling: rest, max_position_embeddings: trained })).toEqual(open({ rope_theta: 500, rope_scaling: YARN }));
  });

  test("take the trained length from the config itself before the scaling, as transformers does", () => {
    const { original_max_position_embeddings: trained, ...rest } = YARN;
    expect(open({ rope_theta: 500, rope_scaling: { ...YARN, original_max_position_embeddings: 16 }, original_max_position_embeddings: trained })).toEqual(open({ rope_theta: 500, rope_scaling: YARN }));
    const llama3 = { rope_type: "llama3", factor: 8, low_freq_factor: 0.3, high_freq_factor: 3 };
    const expected = frequencies({ rope_theta: 500, rope_scaling: { ...llama3, original_max_position_embeddings: 32 } });
    expect(frequencies({ rope_theta: 500, rope_scaling: llama3, original_max_position_embeddings: 32 })).toEqual(expected);
    expect(frequencies({ rope_theta: 500, rope_scaling: llama3, max_position_embeddings: 32 })).toEqual(expected);
    expect(frequencies({ rope_theta: 500, rope_scaling: llama3 })).not.toEqual(expected);
    expect(open({ rope_theta: 500, rope_scaling: { ...rest, factor: null }, original_max_position_embeddings: trained, max_position_embeddings: 4 * trained })).toEqual(open({ rope_theta: 500, rope_scaling: YARN }));
  });

  test("of yarn are rounded to whole dimensions unless truncate says otherwise, be it by null", () => {
    const withTruncate = (truncate?: boolean | null): Float64Array => frequencies({ rope_theta: 500, rope_scaling: { ...YARN, beta_fast: 4, ...(truncate === undefined ? {} : { truncate }) } });
    expect(withTruncate(true)).toEqual(withTruncate());
    expect(withTruncate(null)).toEqual(withTruncate(false));
    expect(withTruncate(false)).not.toEqual(withTruncate(true));
  });

  test("come from rope_scaling where both places say something, from rope_parameters where it is empty", () => {
    const rope_parameters = { rope_type: "linear", factor: 7, rope_theta: 9 };
    expect(open({ rope_theta: 500, rope_scaling: { type: "linear", factor: 4 }, rope_parameters })).toEqual(open({ rope_theta: 500, rope_scaling: { type: "linear", factor: 4 } }));
    expect(open({ rope_theta: 500, rope_scaling: {}, rope_parameters })).toEqual(open({ rope_parameters }));
  });

  test("that differ by layer, and a band of llama3 that is upside down, are refused", () => {
    expect(() => open({ rope_parameters: { sliding_attention: { rope_theta: 9 } } })).toThrow('test: rope_parameters.sliding_attention: expected a number or a word, since all layers rotate alike, got {"rope_theta":9}.');
    expect(() => open({ rope_scaling: { rope_type: "llama3", factor: 8, low_freq_factor: 3, high_freq_factor: 3 } })).toThrow("test: rope_scaling: expected the numbers that llama3 scaling needs");
  });

  test("are those of fewer elements where only a part of each head turns", () => {
    expect(open({ rope_theta: 500, partial_rotary_factor: 0.25 }, 32)).toEqual(open({ rope_theta: 500 }));
    expect(open({ rope_parameters: { rope_theta: 500, partial_rotary_factor: 0.25 } }, 32)).toEqual(open({ rope_theta: 500 }));
  });
});
