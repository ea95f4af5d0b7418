import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { longRotaryFrequencies, type LongRotaryConfig } from "./longrope.ts";

const SHORT = [1, 1.5, 2, 3.5];
const LONG = { type: "longrope", short_factor: SHORT, long_factor: [5, 6, 7, 8] };
const open = (changes: Partial<LongRotaryConfig>) => longRotaryFrequencies({ rope_theta: 500, max_position_embeddings: 1024, original_max_position_embeddings: 64, rope_scaling: LONG, ...changes }, 8, "config.json");
const PLAIN = [1, 500 ** -0.25, 500 ** -0.5, 500 ** -0.75];

describe("LongRoPE", () => {
  test("divides each frequency by its own short factor, for texts as long as those of the original training", () => {
    const { frequencies, maxPositions } = open({});
    expect(relativeError(frequencies, PLAIN.map((f, i) => f / (SHORT[i] ?? 0)))).toBeLessThan(1e-15);
    expect(maxPositions).toBe(64);
    expect(open({ max_position_embeddings: 48 }).maxPositions).toBe(48);
  });

  test("scales the cosines by how much longer texts may be, unless the config says by what", () => {
    expect(open({}).attentionFactor).toBeCloseTo(Math.sqrt(1 + Math.log(16) / Math.log(64)), 15);
    expect(open({ rope_scaling: { ...LONG, factor: 3 } }).attentionFactor).toBeCloseTo(Math.sqrt(1 + Math.log(3) / Math.log(64)), 15);
    expect(open({ rope_scaling: { ...LONG, factor: 3, attention_factor: 1.7 } }).attentionFactor).toBe(1.7);
    expect(open({ max_position_embeddings: 64 }).attentionFactor).toBe(1);
  });

  test("goes by the older names that Phi-3's configs have for it", () => {
    expect(open({ rope_scaling: { ...LONG, type: "su" } })).toEqual(open({}));
    expect(open({ rope_scaling: { ...LONG, type: "yarn" } })).toEqual(open({}));
    expect(open({ rope_scaling: null, rope_parameters: { ...LONG, type: undefined, rope_type: "longrope" } })).toEqual(open({}));
  });

  test("is absent where no scaling is asked for", () => {
    const { frequencies, attentionFactor, maxPositions } = open({ rope_scaling: null });
    expect(relativeError(frequencies, PLAIN)).toBeLessThan(1e-15);
    expect([attentionFactor, maxPositions]).toEqual([1, 1024]);
  });

  test.each([
    [{ ...LONG, short_factor: [1, 2, 3] }, "the numbers that longrope scaling needs"],
    [{ ...LONG, short_factor: undefined }, "the numbers that longrope scaling needs"],
    [{ ...LONG, short_factor: [1, 0, 1, 1] }, "the numbers that longrope scaling needs"],
    [{ ...LONG, type: "llama3" }, "a rotary scaling that is supported (default, longrope, su, yarn), got `llama3`"],
  ])("that does not fit is refused: %j", (rope_scaling, message) => {
    expect(() => open({ rope_scaling })).toThrow(`config.json: rope_scaling: expected ${message}`);
  });
});
