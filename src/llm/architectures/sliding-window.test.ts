/** What tokens see in layers with windows and in layers that do not rotate, by the float64 reference. */
import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { openTiny, referenceWeights } from "../../../test/support/tiny-models.ts";
import { must } from "../../core/base/errors.ts";
import type { ReferenceTensor } from "../../engine/graph/ops/record.ts";
import { evaluateReference, toReference } from "../../engine/runtime/reference.ts";
import { packExamples } from "../data/pack.ts";
import { stackClients } from "../data/stack.ts";
import { batchFeeds } from "../training/batch-feeds.ts";
import { lossGraph } from "../training/graphs.ts";

type Fields = Readonly<Record<string, unknown>>;
const SIZES = { vocab_size: 29, hidden_size: 16, intermediate_size: 21, num_hidden_layers: 1, num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 48, head_dim: 6, rope_theta: 50 };
const TEXT = [3, 17, 8, 25, 11, 2, 19, 5, 23, 14];

/** Losses of every token but the first of each example, in the order of their places in one row, the longest example first. */
function losses(config: Fields, examples: readonly (readonly number[])[]): Float64Array {
  const shared = (values: readonly number[]): Int32Array<SharedArrayBuffer> => {
    const out = new Int32Array(new SharedArrayBuffer(4 * values.length));
    out.set(values);
    return out;
  };
  const offsets = examples.reduce<number[]>((ends, e) => [...ends, (ends.at(-1) ?? 0) + e.length], [0]);
  const data = { ids: shared(examples.flat()), labels: shared(examples.flat()), offsets: shared(offsets) };
  const { weights: _, ...feeds } = batchFeeds(stackClients([packExamples(data, examples.map((_e, i) => i), { width: offsets.at(-1) ?? 0 })]));
  const graph = lossGraph({ model: openTiny(config), adapter: undefined }, { clients: 1, maxLabelledRows: 64 });
  const all = new Map([...referenceWeights(config), ...Object.entries(feeds).map(([name, t]): [string, ReferenceTensor] => [name, toReference(t)])]);
  return Float64Array.from(must(evaluateReference(graph, all).get("nll"), "nll").data);
}

/** Which tokens back, the own included, change what a token late in the text says of its successor. */
function seenFrom(config: Fields, place = 8): readonly number[] {
  const before = losses(config, [TEXT])[place] ?? 0;
  return Array.from({ length: place + 1 }, (_, back) => back + 1).filter((back) => Math.abs((losses(config, [TEXT.with(place + 1 - back, 28)])[place] ?? 0) - before) > 1e-9);
}

const upTo = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i + 1);

describe("a window of 4 shows a token itself and three before, and hides the fifth", () => {
  test.each<[string, Fields]>([
    ["mistral", { sliding_window: 4 }],
    ["phi3", { sliding_window: 4 }],
    ["qwen2", { use_sliding_window: true, sliding_window: 4, max_window_layers: 0 }],
    ["qwen3", { use_sliding_window: true, sliding_window: 4, max_window_layers: 0 }],
    ["smollm3", { use_sliding_window: true, sliding_window: 4, no_rope_layers: [0] }],
  ])("%s", (model_type, changes) => {
    expect(seenFrom({ model_type, ...SIZES, ...changes })).toEqual(upTo(4));
  });

  test("in each layer: two layers see seven tokens, one of two with a window all", () => {
    const two = { model_type: "qwen2", ...SIZES, num_hidden_layers: 2, use_sliding_window: true, sliding_window: 4 };
    expect(seenFrom({ ...two, max_window_layers: 0 })).toEqual(upTo(7));
    expect(seenFrom({ ...two, max_window_layers: 1 })).toEqual(upTo(9));
  });
});

describe("every token before is seen", () => {
  test.each<[string, Fields]>([
    ["mistral", { sliding_window: null }],
    ["mistral", { sliding_window: 9 }],
    ["phi3", {}],
    ["qwen2", { use_sliding_window: false, sliding_window: 4, max_window_layers: 0 }],
    ["qwen3", { use_sliding_window: true, sliding_window: 4, max_window_layers: 1 }],
    ["smollm3", { use_sliding_window: true, sliding_window: 4, no_rope_layers: [1] }],
    ["smollm3", { use_sliding_window: false, sliding_window: 4, no_rope_layers: [0] }],
  ])("%s %j", (model_type, changes) => {
    expect(seenFrom({ model_type, ...SIZES, ...changes })).toEqual(upTo(9));
  });
});

test.each<[string, Fields]>([
  ["mistral", { sliding_window: 4 }],
  ["phi3", { sliding_window: 3, partial_rotary_factor: 0.34 }],
  ["qwen2", { use_sliding_window: true, sliding_window: 4, max_window_layers: 1 }],
  ["qwen3", { use_sliding_window: true, sliding_window: 5, max_window_layers: 1 }],
  ["smollm3", { use_sliding_window: true, sliding_window: 3, no_rope_layers: [1, 0] }],
])("windows end at the borders of examples: a packed row gives %s the losses of its examples apart", (model_type, changes) => {
  const config = { model_type, ...SIZES, num_hidden_layers: 2, ...changes };
  const examples = [TEXT, [7, 1, 20, 9, 16, 12, 4], [13, 6]];
  const apart = examples.flatMap((e) => [...losses(config, [e])]);
  expect(relativeError(losses(config, examples), apart)).toBeLessThan(1e-12);
});

test("a layer of SmolLM3 that does not rotate knows no order among the tokens before", () => {
  const last = (no_rope_layers: readonly number[], text: readonly number[]): number => losses({ model_type: "smollm3", ...SIZES, no_rope_layers }, [text])[8] ?? 0;
  const swapped = TEXT.with(1, TEXT[4] ?? 0).with(4, TEXT[1] ?? 0);
  expect(last([0], swapped)).toBeCloseTo(last([0], TEXT), 12);
  expect(Math.abs(last([1], swapped) - last([1], TEXT))).toBeGreaterThan(1e-6);
});
