/**
 * Bottleneck adapters: the output h `[C, N, D]` of a sublayer, before it joins the residual stream, becomes
 * h + W_up f(W_down h + b_down) + b_up with W_down `[m, D]`, W_up `[D, m]`. `houlsby` puts one after the attention and one
 * after the feed-forward of every layer (Houlsby et al. 2019, section 2.1), `pfeiffer` after the feed-forward only
 * (Pfeiffer et al. 2021, section 3). Weights start small and biases at 0, so that training begins near the base
 * (Houlsby et al. 2019, section 3.1: normal with deviation 0.01, truncated at two deviations).
 */
import { z } from "zod";
import { elementCount } from "../../core/base/tensor.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { SublayerKind } from "../architectures/sites.ts";
import { commonFields, type AdapterMethod, type AdapterTensors, type BoundAdapter, type ParameterSpec } from "./adapter.ts";
import { ownFormat } from "./own-format.ts";
import { constantStart } from "./starts.ts";

const ACTIVATIONS = { relu: g.relu, gelu: (x: Value) => g.gelu(x, "none"), silu: g.silu, tanh: g.tanh } as const;
const PLACEMENTS: Readonly<Record<"houlsby" | "pfeiffer", readonly SublayerKind[]>> = { houlsby: ["attention", "feed_forward"], pfeiffer: ["feed_forward"] };
const DEVIATION = 0.01;
/** Draws further out than this many deviations are drawn anew. */
const TRUNCATED_AT = 2;

const schema = z.strictObject({
  method: z.literal("bottleneck").describe("adapter method"),
  placement: z.enum(["houlsby", "pfeiffer"]).default("pfeiffer").describe("after the attention and the feed-forward of every layer (houlsby), or after the feed-forward only (pfeiffer)"),
  reduction_factor: z.number().positive().default(16).describe("model width / bottleneck width"),
  size: z.int().positive().optional().describe("bottleneck width itself, in place of reduction_factor"),
  activation: z.enum(["relu", "gelu", "silu", "tanh"]).default("relu").describe("function between the two projections"),
  ...commonFields,
});
type BottleneckSettings = z.infer<typeof schema>;

function truncatedNormalStart(shape: readonly number[]): ParameterSpec["start"] {
  return (from) => {
    const wanted = elementCount(shape);
    // 95.4 % of the draws lie within two deviations.
    for (let count = Math.ceil(1.1 * wanted) + 16; ; count *= 2) {
      const kept = from.normals(count).filter((x) => Math.abs(x) <= TRUNCATED_AT);
      if (kept.length >= wanted) return Float32Array.from(kept.subarray(0, wanted), (x) => DEVIATION * x);
    }
  };
}

const nameOf = (layer: number, kind: SublayerKind): string => `layers.${layer}.${kind}`;

function bindBottleneck(settings: BottleneckSettings, model: ArchitectureModel): BoundAdapter {
  const kinds = PLACEMENTS[settings.placement];
  const activation = ACTIVATIONS[settings.activation];
  const d = model.hiddenSize;
  const m = settings.size ?? Math.max(1, Math.floor(d / settings.reduction_factor));
  const linear = (name: string, out: number, input: number): readonly ParameterSpec[] => [
    { name: `${name}.weight`, shape: [out, input], start: truncatedNormalStart([out, input]) },
    { name: `${name}.bias`, shape: [out], start: constantStart([out], 0) },
  ];
  const apply = (name: string, x: Value, tensors: AdapterTensors): Value => {
    const bias = tensors.parameter(`${name}.bias`); // [C, out]
    const [clients = 1, out = 1] = bias.shape;
    return g.add(g.matMul(x, tensors.parameter(`${name}.weight`), { transB: true }), g.reshape(bias, [clients, 1, out]));
  };
  return {
    parameters: Array.from({ length: model.layers }).flatMap((_, i) => kinds.flatMap((kind) => [...linear(`${nameOf(i, kind)}.down`, m, d), ...linear(`${nameOf(i, kind)}.up`, d, m)])),
    frozen: [], virtualTokens: 0, prefixTokens: 0, dropout: 0, changesHead: false, factorPairs: [], baseCopies: [],
    attach: (tensors) => ({
      sublayer(layer, kind, h) {
        if (!kinds.includes(kind)) return h;
        const low = activation(apply(`${nameOf(layer, kind)}.down`, h, tensors)); // [C, N, m]
        return g.add(h, apply(`${nameOf(layer, kind)}.up`, low, tensors));
      },
    }),
    merge: { none: "a bottleneck adapter, which is a layer of its own" },
  };
}

export const bottleneck: AdapterMethod<BottleneckSettings> = { schema, bind: bindBottleneck, peft: ownFormat("bottleneck", schema) };
