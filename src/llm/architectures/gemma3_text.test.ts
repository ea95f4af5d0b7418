import { describe, expect, test } from "vitest";
import { openTiny, TINY_CONFIGS, type ModelConfig } from "../../../test/support/tiny-models.ts";
import { hashGraph } from "../../engine/graph/print.ts";
import { lossGraph } from "../training/graphs.ts";

const CONFIG = TINY_CONFIGS.gemma3_text;
const graphOf = (config: ModelConfig): string => hashGraph(lossGraph({ model: openTiny(config), adapter: undefined }, { clients: 1, maxLabelledRows: 24 }));

test.each([
  ["attn_logit_softcapping", { attn_logit_softcapping: 50 }],
  ["final_logit_softcapping", { final_logit_softcapping: 0 }],
  ["layer_types", { layer_types: ["full_attention"] }],
  ["sliding_window", { sliding_window: null }],
  ["sliding_window_pattern", { sliding_window_pattern: 0 }],
  ["_sliding_window_pattern", { _sliding_window_pattern: 3 }],
  ["use_bidirectional_attention", { use_bidirectional_attention: true }],
  ["partial_rotary_factor", { partial_rotary_factor: 0.5 }],
  ["rope_scaling.rope_type", { rope_scaling: { type: "linear", factor: 8 } }],
  ["rope_scaling", { rope_scaling: { rope_type: "dynamic", factor: 8 } }],
  ["rope_parameters", { rope_parameters: { rope_type: "default", rope_theta: 50 } }],
  ["rope_parameters", { rope_parameters: { sliding_attention: { rope_type: "linear" } } }],
])("a config is refused by its %s", (field, change) => {
  expect(() => openTiny({ ...CONFIG, ...change })).toThrow(`tiny model: ${field}: expected`);
});

describe("a config of gemma3_text", () => {
  const { rope_theta, rope_local_base_freq, sliding_window_pattern: _, ...rest } = CONFIG;
  const layers = { layer_types: ["sliding_attention", "full_attention"], _sliding_window_pattern: 6 };
  const full = { rope_type: "linear", factor: 8, rope_theta };
  const sliding_attention = { rope_type: "default", rope_theta: rope_local_base_freq };

  test("of transformers 5 says what one of transformers 4 says: a scaling is of the layers without a window", () => {
    const before = graphOf({ ...CONFIG, rope_scaling: { rope_type: "linear", factor: 8 } });
    expect(before).not.toBe(graphOf(CONFIG));
    expect(graphOf({ ...rest, ...layers, rope_parameters: { full_attention: full, sliding_attention } })).toBe(before);
    expect(graphOf({ ...rest, ...layers, rope_parameters: { full_attention: full, sliding_attention: { ...full, rope_theta: rope_local_base_freq } } })).not.toBe(before);
    expect(graphOf({ ...rest, ...layers, rope_parameters: { full_attention: { ...full, rope_theta: 51 }, sliding_attention } })).not.toBe(before);
  });

  test("that leaves out how layers rotate has bases of a million and of ten thousand", () => {
    const given = { ...rest, ...layers, rope_parameters: { full_attention: { rope_theta: 1e6 }, sliding_attention: { rope_theta: 1e4 } } };
    expect(graphOf({ ...rest, ...layers })).toBe(graphOf(given));
    expect(graphOf({ ...rest, ...layers, rope_parameters: { sliding_attention: null } })).toBe(graphOf(given));
  });

  test("has each n-th layer look back over everything: sliding_window_pattern, 6 by default, or layer_types", () => {
    const pattern = (n: number, change: ModelConfig): string => graphOf({ ...CONFIG, num_hidden_layers: n, sliding_window_pattern: undefined, ...change });
    const types = (...whole: number[]) => ({ layer_types: Array.from({ length: 7 }, (_, i) => (whole.includes(i) ? "full_attention" : "sliding_attention")) });
    expect(pattern(7, {})).toBe(pattern(7, types(5)));
    expect(pattern(7, { sliding_window_pattern: 3 })).toBe(pattern(7, types(2, 5)));
    expect(pattern(7, { sliding_window_pattern: 3 })).not.toBe(pattern(7, {}));
  });
});
