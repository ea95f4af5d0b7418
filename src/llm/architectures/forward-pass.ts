/**
 * One forward pass while it is built: gives architectures their weights, linear modules, norms and attention, and applies
 * what an adapter does there. What a model is made of is left to its architecture.
 */
import { must } from "../../core/base/errors.ts";
import { tensor } from "../../core/base/tensor.ts";
import type { GraphBuilder } from "../../engine/graph/builder.ts";
import { multiplyDims } from "../../engine/graph/dims.ts";
import type { Dim } from "../../engine/graph/dims.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { AdapterHooks, BaseTensor, LayerCache, LinearModule, SublayerKind } from "./sites.ts";
import { roundedProduct, type RoundedBase } from "./quantized-weights.ts";
import { attend, attendInBlocks, attendOneToken, prefixSight, splitHeads } from "./attention.ts";
import type { AttentionShape, Sight } from "./attention.ts";
import { rotate } from "./rotary.ts";
import type { RotaryTables } from "./rotary.ts";

export interface ForwardInputs {
  /** int32 `[C, B, T]` token ids; those from V upwards are virtual tokens. */
  readonly ids: Value;
  /** int32 `[C, B, T]` position of each token within its example. */
  readonly positions: Value;
  /** Which keys a token may look at. */
  readonly sight: Sight;
  /** Keys and values of earlier tokens, one entry a layer; absent in training. */
  readonly past?: readonly LayerCache[];
  /** Name of the joined key dimension where there is a past or a prefix. */
  readonly keys?: string;
  /** Where T is 1 and there is a past: it is left where it lies, and the cache then has the tokens' own keys and values only. */
  readonly oneToken?: {
    /** Whether products have the weight as their first factor: a few rows are then read as they are, and the weight is not repacked. */
    readonly weightsFirst: boolean;
  };
}

/** What a pass needs to know of a model. */
export interface PassModel {
  /** Which prepared tensors are held rounded; absent: none. */
  readonly rounded?: RoundedBase | undefined;
  /** Whether weights of one input lie apart in their files and cannot be one product. */
  readonly apart?: boolean | undefined;
  readonly vocabSize: number;
  readonly tensors: readonly BaseTensor[];
  readonly linears: readonly LinearModule[];
  readonly tied: ReadonlyMap<string, string>;
  /** Embeddings of real tokens are multiplied by it; absent: 1. */
  readonly embeddingScale?: number;
}

export interface AttentionOptions extends AttentionShape {
  /** Rotates queries and keys. */
  readonly rotary?: RotaryTables | undefined;
  /** Tokens that each token looks back upon, itself included; absent: all. */
  readonly window?: number | undefined;
  /** Slope of each head by which scores grow with the key's position (ALiBi; Press et al. 2022). */
  readonly slopes?: readonly number[];
}

const ones = (like: Value, width: number): Value => like.builder.constant(tensor("float32", [width], new Float32Array(width).fill(1)));
const zeros = (like: Value, width: number): Value => like.builder.constant(tensor("float32", [width], new Float32Array(width)));

export class ForwardPass {
  readonly builder: GraphBuilder;
  readonly inputs: ForwardInputs;
  /** C, B, T and N = B · T. */
  readonly dims: { readonly clients: Dim; readonly rows: Dim; readonly tokens: Dim; readonly flat: Dim; readonly batch: Dim };
  readonly cache: LayerCache[] = [];
  readonly #hooks: AdapterHooks;
  readonly #model: PassModel;
  readonly #parts = new Map<string, { readonly tensor: BaseTensor; readonly rows: number }>();
  readonly #linears: ReadonlyMap<string, LinearModule>;

  constructor(builder: GraphBuilder, model: PassModel, inputs: ForwardInputs, hooks: AdapterHooks) {
    this.builder = builder;
    this.inputs = inputs;
    this.#model = model;
    this.#hooks = hooks;
    const [clients = 1, rows = 1, tokens = 1] = inputs.ids.shape;
    this.dims = { clients, rows, tokens, flat: multiplyDims(rows, tokens), batch: multiplyDims(clients, rows) };
    for (const t of model.tensors) for (const { name, rows } of t.parts) this.#parts.set(name, { tensor: t, rows });
    this.#linears = new Map(model.linears.map((l) => [l.path, l]));
  }

  /** The frozen weight `[…shape]` of this name, or what the adapter puts in its place, `[C, …shape]`. */
  weight(name: string): Value {
    return this.#hooks.weight?.(name) ?? this.#frozen(name);
  }

  /** By its own name also where it is joined with others: cut out of them, it would be copied. */
  #frozen(name: string): Value {
    const own = this.#model.tied.get(name) ?? name;
    const { tensor: t, rows } = must(this.#parts.get(own), `weight ${name}`);
    return this.builder.weight(own, "float32", t.shape.with(0, rows));
  }

  /** A weight of one axis as it broadcasts over `[C, N, width]`: `[width]`, or `[C, 1, width]` where the adapter put it there. */
  #vector(name: string): Value {
    const w = this.weight(name);
    return w.shape.length === 1 ? w : g.reshape(w, [this.dims.clients, 1, w.shape[1] ?? 1]);
  }

  /** Rows of an embedding table by indices int32 `[C, B, T]`: `[C, N, width]`. */
  lookUp(path: string, indices: Value): Value {
    const table = this.weight(`${path}.weight`);
    const { clients, flat } = this.dims;
    const flatIndices = g.reshape(indices, [clients, flat]);
    return table.shape.length === 2 ? g.gather(table, flatIndices) : g.gatherRows(table, flatIndices);
  }

  /** Token embeddings `[C, N, D]`, those of virtual tokens from the adapter: these are not scaled. */
  embed(path: string): Value {
    const virtual = this.#hooks.virtualEmbeddings?.();
    const { ids } = this.inputs;
    const scale = this.#model.embeddingScale ?? 1;
    const scaled = (indices: Value): Value => (scale === 1 ? this.lookUp(path, indices) : g.mul(this.lookUp(path, indices), scale));
    if (virtual === undefined) return scaled(ids);
    const { clients, flat } = this.dims;
    const integer = (x: number): Value => this.builder.constant(tensor("int32", [], Int32Array.of(x)));
    const first = this.#model.vocabSize;
    const isReal = g.lessOrEqual(ids, integer(first - 1));
    const real = scaled(g.where(isReal, ids, integer(0)));
    const index = g.where(isReal, integer(0), g.sub(ids, integer(first)));
    return g.where(g.reshape(isReal, [clients, flat, 1]), real, g.gatherRows(virtual, g.reshape(index, [clients, flat])));
  }

  linear(path: string, x: Value): Value {
    return must(this.linears([path], x)[0], path);
  }

  /** Several linear modules of one input, by one product where the prepared base joins them. */
  linears(paths: readonly string[], x: Value): readonly Value[] {
    const modules = paths.map((path) => must(this.#linears.get(path), `linear module ${path}`));
    const inputs = modules.map(({ path }) => this.#hooks.linearInput?.(path, x) ?? x);
    const products = this.#joinedProduct(modules, inputs, x) ?? modules.map((m, i) => this.#project(m, inputs[i] ?? x));
    return modules.map((m, i) => {
      const [input, product] = [inputs[i] ?? x, must(products[i], m.path)];
      const bias = m.bias === undefined ? undefined : this.#vector(m.bias);
      const site = { path: m.path, input, product, ...(bias === undefined ? {} : { bias }), project: (other: Value) => this.#project(m, other) };
      return this.#hooks.linearOutput?.(site) ?? (bias === undefined ? product : g.add(product, bias));
    });
  }

  #joinedProduct(modules: readonly LinearModule[], inputs: readonly Value[], x: Value): readonly Value[] | undefined {
    const first = must(modules[0], "a linear module");
    const { tensor: t } = must(this.#parts.get(this.#model.tied.get(first.weight) ?? first.weight), first.weight);
    const together = this.#model.apart !== true && modules.length > 1 && t.parts.length === modules.length && modules.every((m, i) => t.parts[i]?.name === m.weight && inputs[i] === x && this.#hooks.weight?.(m.weight) === undefined);
    if (!together) return undefined;
    const rounded = roundedProduct(this.builder, this.#model.rounded, t.name, x);
    // Cutting a wide product into its parts, and joining their gradients, costs more than one product gains over several.
    if (rounded === undefined && modules.every((m) => m.outFeatures >= m.inFeatures)) return undefined;
    return g.split(rounded ?? this.#product(x, this.builder.weight(t.name, "float32", t.shape)), 2, modules.map((m) => m.outFeatures));
  }

  #project(module: LinearModule, x: Value): Value {
    const { name, parts } = must(this.#parts.get(this.#model.tied.get(module.weight) ?? module.weight), module.weight).tensor;
    const rounded = this.#hooks.weight?.(module.weight) === undefined ? roundedProduct(this.builder, this.#model.rounded, name, x) : undefined;
    if (rounded !== undefined) {
      // Outputs of joined modules lie side by side: the others' are made and left.
      return parts.length === 1 ? rounded : must(g.split(rounded, rounded.shape.length - 1, parts.map((p) => p.rows))[parts.findIndex((p) => p.name === module.weight)], module.path);
    }
    const weight = this.weight(module.weight);
    return module.layout === "out_in" ? this.#product(x, weight) : g.matMul(x, weight);
  }

  /** x Wᵀ `[C, N, out]` of `[C, N, in]` by a weight `[out, in]`, or `[C, out, in]` as the adapter put it. */
  #product(x: Value, weight: Value): Value {
    if (this.inputs.oneToken?.weightsFirst !== true || weight.shape.length !== 2) return g.matMul(x, weight, { transB: true });
    const [clients = 1, rows = 1, width = 1] = x.shape;
    const turned = g.matMul(weight, g.reshape(x, [multiplyDims(clients, rows), width]), { transB: true }); // [out, C·N]
    return g.reshape(g.transpose(turned, [1, 0]), [clients, rows, weight.shape[0] ?? 1]);
  }

  /** Root-mean-square norm over the last axis; `offset` is added to the weight (Gemma: 1). */
  rmsNorm(path: string, x: Value, epsilon: number, { offset = 0 }: { readonly offset?: number } = {}): Value {
    const raw = this.weight(`${path}.weight`);
    const w = offset === 0 ? raw : g.add(raw, offset);
    if (w.shape.length === 1) return g.rmsNorm(x, w, epsilon);
    const width = Number(w.shape[1]);
    return g.mul(g.rmsNorm(x, ones(x, width), epsilon), g.reshape(w, [this.dims.clients, ...x.shape.slice(1, -1).map(() => 1), width]));
  }

  /** Layer norm (Ba et al. 2016) over the last axis. */
  layerNorm(path: string, x: Value, epsilon: number): Value {
    const [w, b] = [this.weight(`${path}.weight`), this.weight(`${path}.bias`)];
    if (w.shape.length === 1 && b.shape.length === 1) return g.layerNorm(x, w, b, epsilon);
    const [weight, bias] = [this.#vector(`${path}.weight`), this.#vector(`${path}.bias`)];
    return g.add(g.mul(this.plainLayerNorm(x, epsilon), weight), bias);
  }

  /** Layer norm without weight and bias. */
  plainLayerNorm(x: Value, epsilon: number): Value {
    const width = Number(x.shape.at(-1));
    return g.layerNorm(x, ones(x, width), zeros(x, width), epsilon);
  }

  /** Root-mean-square norm of each head of `[C, N, H·E]` by a weight `[E]`. */
  headNorm(path: string, x: Value, epsilon: number, { width, offset = 0 }: { readonly width: number; readonly offset?: number }): Value {
    const { clients, flat } = this.dims;
    const byHead = g.reshape(x, [clients, flat, Number(x.shape[2]) / width, width]);
    return g.reshape(this.rmsNorm(path, byHead, epsilon, { offset }), x.shape);
  }

  /** Attention of one layer. Queries `[C, N, H·E]`, keys and values `[C, N, K·E]` → `[C, N, H·E]`. Remembers keys and values. */
  attention(layer: number, states: { readonly q: Value; readonly k: Value; readonly v: Value }, options: AttentionOptions): Value {
    const { clients, flat, batch, tokens } = this.dims;
    const { heads, keyValueHeads, headWidth, rotary } = options;
    const byRow = (x: Value): Value => g.reshape(x, [batch, tokens, Number(x.shape[2])]);
    const turned = (x: Value, count: number): Value => (rotary === undefined ? byRow(x) : rotate(byRow(x), rotary, { heads: count, width: headWidth }));
    const own = { key: splitHeads(turned(states.k, keyValueHeads), keyValueHeads, headWidth), value: splitHeads(byRow(states.v), keyValueHeads, headWidth) }; // [X, K, T, E]
    const query = turned(states.q, heads); // [X, T, H·E]
    const before = this.inputs.past?.[layer] ?? this.#prefix(layer);
    if (this.inputs.oneToken !== undefined && before !== undefined) {
      this.cache[layer] = own;
      const apart = { past: before, own, keys: must(this.inputs.keys, "name of the key dimension") };
      return g.reshape(attendOneToken(query, apart, this.#bias(this.inputs.sight, options), options), [clients, flat, heads * headWidth]);
    }
    const seen = before === undefined ? own : { key: g.concat([before.key, own.key], 2, this.inputs.keys), value: g.concat([before.value, own.value], 2, this.inputs.keys) };
    this.cache[layer] = seen;
    const sight = this.inputs.past === undefined && before !== undefined ? prefixSight(this.inputs.sight, Number(before.key.shape[2]), must(this.inputs.keys, "name of the key dimension")) : this.inputs.sight;
    const mixed = sight.blocks === undefined
      ? attend(splitHeads(query, heads, headWidth), seen, this.#bias(sight, options), options)
      : attendInBlocks(query, seen, sight.blocks.map((block) => this.#bias(block, options)), options);
    return g.reshape(mixed, [clients, flat, heads * headWidth]);
  }

  /** What is added to the scores: the mask, and how they grow with the key's position where they do. */
  #bias(sight: Sight, options: AttentionOptions): Value {
    const { window, slopes } = options;
    const mask = sight.mask(window);
    return slopes === undefined ? mask : g.add(mask, this.#alibi(sight.keyPositions, slopes, options));
  }

  /** slope · position of the key, `[X, K, G, 1, S]`: softmax ignores what is equal along a row, so the distance need not be taken. */
  #alibi(keyPositions: Value, slopes: readonly number[], { heads, keyValueHeads }: AttentionShape): Value {
    const [x = 1, s = 1] = keyPositions.shape;
    const byHead = this.builder.constant(tensor("float32", [1, keyValueHeads, heads / keyValueHeads, 1, 1], Float32Array.from(slopes)));
    return g.mul(byHead, g.reshape(g.cast(keyPositions, "float32"), [x, 1, 1, 1, s]));
  }

  /** The adapter's keys and values of a layer, for every row. */
  #prefix(layer: number): LayerCache | undefined {
    const prefix = this.#hooks.prefix?.(layer);
    if (prefix === undefined) return undefined;
    const { clients, rows, batch } = this.dims;
    const everyRow = (x: Value): Value => {
      const [, k = 1, n = 1, e = 1] = x.shape;
      return g.reshape(g.expand(g.reshape(x, [clients, 1, k, n, e]), [clients, rows, k, n, e]), [batch, k, n, e]);
    };
    return { key: everyRow(prefix.key), value: everyRow(prefix.value) };
  }

  /** x + the output of a sublayer, as the adapter changes it. */
  residual(x: Value, layer: number, kind: SublayerKind, output: Value): Value {
    return g.add(x, this.sublayer(layer, kind, output));
  }

  /** The output of a sublayer, as the adapter changes it. */
  sublayer(layer: number, kind: SublayerKind, output: Value): Value {
    return this.#hooks.sublayer?.(layer, kind, output) ?? output;
  }
}
