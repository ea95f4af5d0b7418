/**
 * Prefix tuning (Li and Liang 2021): keys and values of n positions that stand before every example's own in each layer.
 * With `prefix_projection` a small network gives them (their section 4.3): P = W₂ tanh(W₁ P' + b₁) + b₂.
 */
import { z } from "zod";
import { FedtuneError, must } from "../../core/base/errors.ts";
import * as g from "../../engine/graph/operations.ts";
import type { Value } from "../../engine/graph/value.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { LayerCache } from "../architectures/sites.ts";
import type { AdapterMethod, BoundAdapter, Encoder } from "./adapter.ts";
import { embeddingSpecs, linear, linearSpecs } from "./encoder-layers.ts";
import { constantStart, normalStart } from "./starts.ts";
import { EMPTY_ADAPTER, PROMPT_EMBEDDINGS, SUBMODULES, encoderFields, requireRoom, virtualTokenFields, virtualTokenPeftFields } from "./virtual-tokens.ts";

const schema = z.strictObject({
  method: z.literal("prefix").describe("adapter method"),
  prefix_projection: z.boolean().default(false).describe("train a small network that gives the prefix"),
  init_weights: z.literal("zero").nullable().default(null).describe("zero: keys and values start at 0; null: at random"),
  ...encoderFields,
  ...virtualTokenFields,
});
type PrefixSettings = z.infer<typeof schema>;

/** Width of one layer's keys. */
const keyWidth = ({ keyValueHeads, headWidth }: ArchitectureModel): number => keyValueHeads * headWidth;

/** What gives the prefix `[C, n, layers · 2 · K · E]`. */
function projection(settings: PrefixSettings, model: ArchitectureModel): Encoder {
  const width = keyWidth(model);
  const { num_virtual_tokens: count, encoder_hidden_size: hidden = width, init_weights } = settings;
  const last = linearSpecs("prompt_encoder.transform.2", hidden, model.layers * 2 * width);
  return {
    specs: [
      ...embeddingSpecs("prompt_encoder.embedding", count, width),
      ...linearSpecs("prompt_encoder.transform.0", width, hidden),
      ...(init_weights === "zero" ? last.map((spec) => ({ ...spec, start: constantStart(spec.shape, 0) })) : last),
    ],
    travels: settings.encoder === "shared",
    encode(tensor) {
      const inner = g.tanh(linear(tensor, "prompt_encoder.transform.0", tensor("prompt_encoder.embedding.weight"))); // [C, n, hidden]
      return new Map([[PROMPT_EMBEDDINGS, linear(tensor, "prompt_encoder.transform.2", inner)]]);
    },
  };
}

/** Keys and values `[C, K, n, E]` of each layer from `[C, n, layers · 2 · K · E]`: for each token its layers in turn, the key before the value. */
function layersOf(prefix: Value, { layers, keyValueHeads, headWidth }: ArchitectureModel): readonly LayerCache[] {
  const [clients = 1, count = 1] = prefix.shape;
  const pieces = g.split(prefix, 2, Array.from({ length: 2 * layers }, () => keyValueHeads * headWidth)).map((piece) =>
    g.transpose(g.reshape(piece, [clients, count, keyValueHeads, headWidth]), [0, 2, 1, 3]));
  return Array.from({ length: layers }, (_, i) => ({ key: must(pieces[2 * i], "key"), value: must(pieces[2 * i + 1], "value") }));
}

function bindPrefix(settings: PrefixSettings, model: ArchitectureModel): BoundAdapter {
  const { num_virtual_tokens: count, prefix_projection, init_weights } = settings;
  requireRoom(count, model);
  if (settings.encoder === "local" && !prefix_projection) {
    throw new FedtuneError("config", { where: "adapter.encoder", expected: "shared where there is no encoder", got: "local", remedy: "Set adapter.prefix_projection=true, or leave adapter.encoder out" });
  }
  const shape = [count, model.layers * 2 * keyWidth(model)];
  return {
    ...EMPTY_ADAPTER,
    parameters: [{ name: PROMPT_EMBEDDINGS, shape, start: init_weights === "zero" ? constantStart(shape, 0) : normalStart(shape, 1) }],
    ...(prefix_projection ? { encoder: projection(settings, model) } : {}),
    prefixTokens: count,
    attach(tensors) {
      const layers = layersOf(tensors.parameter(PROMPT_EMBEDDINGS), model);
      return { prefix: (layer) => must(layers[layer], `layer ${layer}`) };
    },
  };
}

const peftSchema = z.looseObject({
  num_virtual_tokens: z.int().positive(),
  prefix_projection: z.boolean().default(false),
  encoder_hidden_size: z.int().positive().nullish(),
  init_weights: z.literal("zero").nullish(),
});

export const prefix: AdapterMethod<PrefixSettings> = {
  schema,
  bind: bindPrefix,
  peft: {
    type: "PREFIX_TUNING",
    write({ num_virtual_tokens, prefix_projection, encoder_hidden_size, init_weights }, model) {
      const width = keyWidth(model);
      const shared = virtualTokenPeftFields(num_virtual_tokens, model, { width, heads: model.keyValueHeads });
      return { ...shared, encoder_hidden_size: encoder_hidden_size ?? width, init_weights, prefix_projection };
    },
    read(fields) {
      const { num_virtual_tokens, prefix_projection, encoder_hidden_size, init_weights } = fields.parse(peftSchema);
      fields.refuseOthers(SUBMODULES, []);
      return schema.parse({ method: "prefix", num_virtual_tokens, prefix_projection, encoder_hidden_size: encoder_hidden_size ?? undefined, init_weights: init_weights ?? null });
    },
  },
};
