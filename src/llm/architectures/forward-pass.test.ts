/** What an adapter may change in a forward pass, in float64, against models whose weights or inputs say the same. */
import { describe, expect, test } from "vitest";
import { relativeError } from "../../../test/support/numbers.ts";
import { drawTensor } from "../../../test/support/tensors.ts";
import { openTiny, randomWeights, referenceWeights, TINY_CONFIGS, type ModelConfig } from "../../../test/support/tiny-models.ts";
import { randomDataset } from "../../../test/support/tiny-training.ts";
import { must } from "../../core/base/errors.ts";
import { tensor, type NamedTensors, type Tensor } from "../../core/base/tensor.ts";
import { GraphBuilder } from "../../engine/graph/builder.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import { evaluateReference } from "../../engine/runtime/reference.ts";
import { packExamples } from "../data/pack.ts";
import { stackClients } from "../data/stack.ts";
import type { PackedRows } from "../data/types.ts";
import { batchFeeds } from "../training/batch-feeds.ts";
import type { ArchitectureModel } from "./architecture.ts";
import type { AdapterHooks, LayerCache } from "./sites.ts";
import { packSight, positionSight } from "./attention.ts";
import { ForwardPass } from "./forward-pass.ts";

const { llama, gpt2, gpt_neox, qwen3, gemma, gemma2, bloom, opt, mistral } = TINY_CONFIGS;
const biasedLlama = { ...llama, attention_bias: true, mlp_bias: true, tie_word_embeddings: false };
const LENGTHS = [9, 6, 3];
const data = randomDataset(LENGTHS, 29);
const ALL = [0, 1, 2];
/** Ids of two clients' packs that differ. */
const OTHER = randomDataset(LENGTHS, 29, 6);

interface Setting {
  readonly config: ModelConfig;
  /** One a client. */
  readonly packs: readonly PackedRows[];
  readonly hooks?: ((builder: GraphBuilder) => AdapterHooks) | undefined;
  readonly weights?: NamedTensors<"float32">;
  /** Keys and values in front of every example: by `hooks`, or given as the past of one row. */
  readonly prefix?: { readonly length: number; readonly asPast: boolean };
}

interface PassResult {
  /** The model's logits after its final norm `[V]`, at each token of each example, by client. */
  readonly logits: readonly (readonly Float64Array[])[];
  readonly products: number;
}

/** The pass over packs, and the logits of every token that is no padding, in the order of rows. */
function run({ config, packs, hooks, weights, prefix = { length: 0, asPast: false } }: Setting): PassResult {
  const model = openTiny(config);
  const builder = new GraphBuilder();
  const batch = stackClients(packs);
  const feeds = batchFeeds(batch);
  const constant = (name: string): Value => builder.constant(must(feeds[name], name));
  const positions = g.add(constant("positions"), prefix.length);
  const flat = (x: Value): Value => g.reshape(x, [batch.clients * batch.rows, batch.width]);
  const attached = hooks?.(builder) ?? {};
  const keys = builder.constant(tensor("int32", [1, prefix.length + batch.width], Int32Array.from({ length: prefix.length + batch.width }, (_, i) => i)));
  const sight = prefix.asPast ? positionSight(flat(positions), keys) : packSight(flat(constant("segments")), flat(positions));
  const past = (): LayerCache[] => Array.from({ length: model.layers }, (_, i) => must(attached.prefix?.(i), "a prefix"));
  const pass = new ForwardPass(builder, model, { ids: constant("ids"), positions, sight, keys: "S", ...(prefix.asPast ? { past: past() } : {}) }, attached);
  builder.output("logits", pass.linear(model.head.path, model.forward(pass)));
  const graph = builder.finish();
  const values = must(evaluateReference(graph, new Map(referenceWeights(config, weights))).get("logits"), "logits").data;
  const size = batch.rows * batch.width;
  const tokens = Array.from({ length: size }, (_, i) => i);
  const v = model.vocabSize;
  return {
    logits: packs.map((_, c) => tokens.filter((i) => batch.segments[c * size + i] !== 0).map((i) => values.subarray((c * size + i) * v, (c * size + i + 1) * v))),
    products: graph.nodes.filter((node) => node.op === "MatMul").length,
  };
}

const flatten = (rows: readonly Float64Array[]): number[] => rows.flatMap((row) => [...row]);
const only = ({ logits }: PassResult): number[] => flatten(must(logits[0], "the first client"));
/** The examples of a data set in one row. */
const packOf = (dataset: typeof data, virtual?: Parameters<typeof packExamples>[2]["virtual"]): PackedRows => packExamples(dataset, ALL, { width: 40, ...(virtual === undefined ? {} : { virtual }) });

/** What every client's logits are where each has a model of its own. */
function expectEach(together: PassResult, apart: readonly PassResult[]): void {
  together.logits.forEach((rows, c) => expect(relativeError(flatten(rows), flatten(must(apart[c]?.logits[0], "client")))).toBeLessThan(1e-10));
}

/** Weights with some of them replaced. */
function edited(config: ModelConfig, changes: (name: string, t: Tensor<"float32">) => Tensor<"float32"> | undefined): NamedTensors<"float32"> {
  return new Map([...randomWeights(config, 3)].map(([name, t]) => [name, changes(name, t) ?? t]));
}

const scaled = (t: Tensor<"float32">, factor: number): Tensor<"float32"> => tensor("float32", t.shape, t.data.map((x) => factor * x));
const weightNames = ({ tensors }: ArchitectureModel): string[] => tensors.flatMap(({ parts }) => parts.map(({ name }) => name));

/** Two tensors side by side as one value `[2, …shape]`. */
function beside(builder: GraphBuilder, [a, b]: readonly [Tensor<"float32">, Tensor<"float32">]): Value {
  return builder.constant(tensor("float32", [2, ...a.shape], Float32Array.from([...a.data, ...b.data])));
}

describe.each([
  ["a llama with biases", biasedLlama], ["GPT-2: transposed weights, layer norms, a table of positions", gpt2], ["Qwen 3: norms of heads", qwen3],
  ["Gemma: norms that add 1", gemma], ["OPT: linear modules around the embedding", opt],
])("a replaced weight is for each client what a model of that weight is: %s", (_, config) => {
  const packs = [packOf(data), packOf(OTHER)];
  const [own, other] = [randomWeights(config, 4), randomWeights(config, 5)];
  const base = run({ config, packs });
  const { tied } = openTiny(config);

  test.each(weightNames(openTiny(config)).filter((name) => !/layers?\.0|h\.0/.test(name)))("%s", (name) => {
    const both = [must(own.get(name), name), must(other.get(name), name)] as const;
    const replaced = run({ config, packs, hooks: (builder) => ({ weight: (asked) => ((tied.get(asked) ?? asked) === name ? beside(builder, both) : undefined) }) });
    const apart = both.map((weight, c) => run({ config, packs: [must(packs[c], "pack")], weights: edited(config, (asked) => (asked === name ? weight : undefined)) }));
    expectEach(replaced, apart);
    // A bias of keys that are not rotated adds the same to every score of a row, which softmax ignores.
    if (!name.endsWith("k_proj.bias")) expect(relativeError(only(replaced), only(base))).toBeGreaterThan(1e-4);
  });
});

describe("linear modules", () => {
  const packs = [packOf(data)];
  const V = "model.layers.1.self_attn.v_proj";

  test("that share an input are one product, until one of them is given another input", () => {
    const base = run({ config: llama, packs });
    const changed = run({ config: llama, packs, hooks: () => ({ linearInput: (path, x) => (path === V ? g.mul(x, -2) : undefined) }) });
    expect(only(changed)).not.toEqual(only(base));
    expect(relativeError(only(changed), only(run({ config: llama, packs, weights: edited(llama, (name, t) => (name === `${V}.weight` ? scaled(t, -2) : undefined)) })))).toBeLessThan(1e-12);
    // Three products in place of one.
    expect(changed.products - base.products).toBe(2);
  });

  test("that are joined with others are read where they lie, not cut out of the joined weight", () => {
    const builder = new GraphBuilder();
    const [ids, positions] = ["ids", "positions"].map((name) => builder.input(name, "int32", [1, 1, 4]));
    const places = g.reshape(must(positions, "positions"), [1, 4]);
    const model = openTiny(llama);
    const pass = new ForwardPass(builder, model, { ids: must(ids, "ids"), positions: must(positions, "positions"), sight: packSight(places, places) }, {});
    const before = builder.nodes.length;
    expect(pass.weight(`${V}.weight`).shape).toEqual([model.keyValueHeads * model.headWidth, model.hiddenSize]);
    expect(builder.nodes.length).toBe(before);
  });

  test("that share an input stay one product where only outputs are changed", () => {
    const changed = run({ config: llama, packs, hooks: () => ({ linearOutput: ({ path, product }) => (path === V ? g.mul(product, -2) : undefined) }) });
    expect(relativeError(only(changed), only(run({ config: llama, packs, weights: edited(llama, (name, t) => (name === `${V}.weight` ? scaled(t, -2) : undefined)) })))).toBeLessThan(1e-12);
    expect(changed.products).toBe(run({ config: llama, packs }).products);
  });

  test.each([
    ["a weight [out, in] in a joined product", biasedLlama, "model.layers.0.self_attn.k_proj"], ["a weight [in, out]", gpt2, "transformer.h.0.mlp.c_fc"],
    ["the output embedding", llama, "lm_head"], ["no bias", llama, "model.layers.0.mlp.down_proj"],
  ] satisfies readonly (readonly [string, ModelConfig, string])[])("show what goes in, their product before the bias, their bias, and their weight for other inputs: %s", (_, config, path) => {
    const seen: string[] = [];
    const { linears, tied } = openTiny(config);
    const again = run({
      config, packs,
      hooks: () => ({
        linearOutput({ path: at, input, product, bias, project }) {
          if (at !== path) return undefined;
          seen.push(at);
          expect(bias === undefined).toBe(linears.find((l) => l.path === path)?.bias === undefined);
          // 0.7 W x + W (0.3 x) + b is the module's own output.
          const sum = g.add(g.mul(product, 0.7), project(g.mul(input, 0.3)));
          return bias === undefined ? sum : g.add(sum, bias);
        },
      }),
    });
    expect(seen).toEqual([path]);
    expect(relativeError(only(again), only(run({ config, packs })))).toBeLessThan(1e-12);
    const without = run({ config, packs, hooks: () => ({ linearOutput: ({ path: at, product }) => (at === path ? product : undefined) }) });
    const unbiased = edited(config, (name, t) => (name === `${path}.bias` ? scaled(t, 0) : undefined));
    expect(relativeError(only(without), only(run({ config, packs, weights: unbiased })))).toBeLessThan(1e-12);
    expect(tied.has("lm_head.weight")).toBe(config !== biasedLlama);
  });
});

/** Keys or values of 3 places for two clients `[2, K, 3, E]`, by layer. */
function prefixOf({ keyValueHeads, headWidth }: ArchitectureModel, name: string): Tensor<"float32"> {
  return drawTensor(name, [2, keyValueHeads, 3, headWidth]);
}

function prefixHooks(model: ArchitectureModel, client?: number): (builder: GraphBuilder) => { prefix(layer: number): LayerCache } {
  const part = (t: Tensor<"float32">): Tensor<"float32"> => {
    if (client === undefined) return t;
    const size = t.data.length / 2;
    return tensor("float32", [1, ...t.shape.slice(1)], t.data.slice(client * size, (client + 1) * size));
  };
  return (builder) => ({ prefix: (layer) => ({ key: builder.constant(part(prefixOf(model, `key ${layer}`))), value: builder.constant(part(prefixOf(model, `value ${layer}`))) }) });
}

const POSITIONS: readonly (readonly [string, ModelConfig])[] = [["rotary", llama], ["windows of 4", mistral], ["windows in one of two layers, soft caps", gemma2], ["ALiBi", bloom], ["a table", gpt2], ["rotary on a part of each head", gpt_neox]];

describe.each(POSITIONS)("a prefix with positions by %s", (_, config) => {
  const model = openTiny(config);
  const packs = [packOf(data), packOf(OTHER)];
  const prefix = { length: 3, asPast: false };
  const packed = run({ config, packs, hooks: prefixHooks(model), prefix });

  test("is seen by every example of a pack, and is what the same keys are as a past in generation", () => {
    [data, OTHER].forEach((dataset, c) => {
      const apart = ALL.map((i) => must(run({ config, packs: [packExamples(dataset, [i], { width: 9 })], hooks: prefixHooks(model, c), prefix: { length: 3, asPast: true } }).logits[0], "example"));
      expect(relativeError(flatten(must(packed.logits[c], "client")), flatten(apart.flat()))).toBeLessThan(1e-10);
    });
  });

  test("changes every token", () => {
    const without = run({ config, packs });
    const prefixed = must(packed.logits[0], "client").map((row, i) => relativeError(row, must(without.logits[0]?.[i], "token")));
    // With windows, tokens far enough from the prefix see it only through the layers below.
    expect(Math.min(...prefixed.slice(0, 4))).toBeGreaterThan(1e-3);
  });
});

describe.each([...POSITIONS, ["a linear module after the embedding", opt], ["a scaled embedding", gemma]] satisfies typeof POSITIONS)("virtual tokens with positions by %s", (_, config) => {
  const model = openTiny(config);
  const virtual = { count: 3, firstId: model.vocabSize };
  const embeddings = drawTensor("virtual", [2, 3, model.embeddingSize]);
  const hooksOf = (client?: number): Setting["hooks"] => (builder) => ({
    virtualEmbeddings: () => builder.constant(client === undefined ? embeddings : tensor("float32", [1, 3, model.embeddingSize], embeddings.data.slice(client * 3 * model.embeddingSize, (client + 1) * 3 * model.embeddingSize))),
  });

  test("are each example's own in a pack", () => {
    const packed = run({ config, packs: [packOf(data, virtual), packOf(OTHER, virtual)], hooks: hooksOf() });
    [data, OTHER].forEach((dataset, c) => {
      const apart = ALL.map((i) => must(run({ config, packs: [packExamples(dataset, [i], { width: 12, virtual })], hooks: hooksOf(c) }).logits[0], "example"));
      expect(relativeError(flatten(must(packed.logits[c], "client")), flatten(apart.flat()))).toBeLessThan(1e-10);
    });
  });

  test("are what tokens with those embeddings would be", () => {
    const field = "vocab_size";
    const wider = { ...config, [field]: model.vocabSize + 3 };
    const scale = 1 / (model.embeddingScale ?? 1);
    const rows = scaled(tensor("float32", [3, model.embeddingSize], embeddings.data.slice(0, 3 * model.embeddingSize)), scale);
    const base = randomWeights(config, 3);
    const head = `${model.head.path}.weight`;
    const weights = new Map([...base].map(([name, t]) => (name === model.embedding || name === head ? [name, tensor("float32", [(t.shape[0] ?? 0) + 3, ...t.shape.slice(1)], Float32Array.from([...t.data, ...(name === head ? rows.data.map(() => 0) : rows.data)]))] : [name, t])));
    const pack = packOf(data, virtual);
    const [expected, actual] = [run({ config: wider, packs: [pack], weights }), run({ config, packs: [pack], hooks: hooksOf(0) })];
    const real = must(expected.logits[0], "client").map((row) => row.subarray(0, model.vocabSize));
    // Dividing by the embedding's scale rounds to float32.
    expect(relativeError(only(actual), flatten(real))).toBeLessThan(model.embeddingScale === undefined ? 1e-12 : 1e-5);
  });
});

describe("sublayers", () => {
  const packs = [packOf(data)];

  test.each([
    ["Llama's attention", llama, "attention", /layers\.1\.self_attn\.o_proj\.weight/], ["Llama's feed-forward", llama, "feed_forward", /layers\.1\.mlp\.down_proj\.weight/],
    ["GPT-NeoX's attention, beside the feed-forward", gpt_neox, "attention", /layers\.1\.attention\.dense\./], ["GPT-NeoX's feed-forward", gpt_neox, "feed_forward", /layers\.1\.mlp\.dense_4h_to_h\./],
  ] as const)("are changed before they are added to the residual stream: %s", (_, config, kind, last) => {
    const changed = run({ config, packs, hooks: () => ({ sublayer: (layer, which, x) => (layer === 1 && which === kind ? g.mul(x, -2) : x) }) });
    const weights = edited(config, (name, t) => (last.test(name) ? scaled(t, -2) : undefined));
    expect(relativeError(only(changed), only(run({ config, packs, weights })))).toBeLessThan(1e-12);
    expect(relativeError(only(changed), only(run({ config, packs })))).toBeGreaterThan(1e-3);
  });
});

describe.each(Object.entries(TINY_CONFIGS))("%s", (_, config) => {
  const model = openTiny(config);

  test("lets adapters have every weight, every linear module, every layer's prefix and both its sublayers, once each", () => {
    const [weights, inputs, outputs, prefixes, sublayers]: [Set<string>, string[], string[], number[], string[]] = [new Set(), [], [], [], []];
    const hooks: AdapterHooks = {
      weight: (name) => void weights.add(model.tied.get(name) ?? name),
      linearInput: (path) => void inputs.push(path),
      linearOutput: ({ path }) => void outputs.push(path),
      sublayer(layer, kind, x) {
        sublayers.push(`${layer} ${kind}`);
        return x;
      },
    };
    run({
      config, packs: [packOf(data)], prefix: { length: 3, asPast: false },
      hooks: (builder) => ({
        ...hooks,
        prefix(layer) {
          prefixes.push(layer);
          return prefixHooks(model, 0)(builder).prefix(layer);
        },
      }),
    });
    const layers = Array.from({ length: model.layers }, (__, i) => i);
    expect([...weights].sort()).toEqual(weightNames(model).sort());
    expect(inputs.sort()).toEqual(model.linears.map(({ path }) => path).sort());
    expect(outputs.sort()).toEqual(inputs);
    expect(prefixes).toEqual(layers);
    expect(sublayers).toEqual(layers.flatMap((i) => [`${i} attention`, `${i} feed_forward`]));
  });
});
