/**
 * P-tuning (Liu et al. 2021, "GPT Understands, Too", section 3): the embeddings of n virtual tokens in front of every
 * example, given by an encoder: an MLP of three layers, or a bidirectional LSTM under one of two.
 */
import { z } from "zod";
import * as g from "../../engine/graph/operations.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { AdapterMethod, BoundAdapter, Encoder, ParameterSpec } from "./adapter.ts";
import { embeddingSpecs, linear, linearSpecs, type Named } from "./encoder-layers.ts";
import { lstm, lstmSpecs } from "./lstm.ts";
import { normalStart } from "./starts.ts";
import { EMPTY_ADAPTER, PROMPT_EMBEDDINGS, SUBMODULES, encoderFields, requireRoom, virtualTokenFields, virtualTokenPeftFields } from "./virtual-tokens.ts";

const schema = z.strictObject({
  method: z.literal("p_tuning").describe("adapter method"),
  encoder_reparameterization_type: z.enum(["MLP", "LSTM"]).default("MLP").describe("what gives the virtual tokens"),
  encoder_num_layers: z.int().positive().default(2).describe("layers of the LSTM; the MLP always has three"),
  encoder_dropout: z.literal(0).default(0).describe("dropout between the layers of the LSTM: none"),
  ...encoderFields,
  ...virtualTokenFields,
});
type PTuningSettings = z.infer<typeof schema>;

const EMBEDDING = "prompt_encoder.embedding";
const LSTM = "prompt_encoder.lstm_head";

interface EncoderSizes {
  /** Width of the virtual tokens. */
  readonly width: number;
  readonly hidden: number;
  readonly layers: number;
}

interface EncoderKind {
  specs(sizes: EncoderSizes): readonly ParameterSpec[];
  /** `[C, n, D]` from embeddings of the same shape. */
  apply(tensor: Named, x: ReturnType<Named>, layers: number): ReturnType<Named>;
}

/** A linear layer of the head, at its place in PyTorch's sequence of linear layers and ReLUs. */
const head = (place: number): string => `prompt_encoder.mlp_head.${place}`;

const KINDS: Readonly<Record<PTuningSettings["encoder_reparameterization_type"], EncoderKind>> = {
  MLP: {
    specs: ({ width, hidden }) => [...linearSpecs(head(0), width, hidden), ...linearSpecs(head(2), hidden, hidden), ...linearSpecs(head(4), hidden, width)],
    apply: (tensor, x) => linear(tensor, head(4), g.relu(linear(tensor, head(2), g.relu(linear(tensor, head(0), x))))),
  },
  LSTM: {
    specs: ({ width, hidden, layers }) => [...lstmSpecs(LSTM, { inFeatures: width, hidden, layers }), ...linearSpecs(head(0), 2 * hidden, 2 * hidden), ...linearSpecs(head(2), 2 * hidden, width)],
    apply: (tensor, x, layers) => linear(tensor, head(2), g.relu(linear(tensor, head(0), lstm(tensor, LSTM, { x, layers })))),
  },
};

function encoderOf(settings: PTuningSettings, { embeddingSize: width }: ArchitectureModel): Encoder {
  const { num_virtual_tokens: count, encoder_hidden_size: hidden = width, encoder_num_layers: layers } = settings;
  const kind = KINDS[settings.encoder_reparameterization_type];
  return {
    specs: [...embeddingSpecs(EMBEDDING, count, width), ...kind.specs({ width, hidden, layers })],
    travels: settings.encoder === "shared",
    encode: (tensor) => new Map([[PROMPT_EMBEDDINGS, kind.apply(tensor, tensor(`${EMBEDDING}.weight`), layers)]]),
  };
}

function bindPTuning(settings: PTuningSettings, model: ArchitectureModel): BoundAdapter {
  const count = settings.num_virtual_tokens;
  requireRoom(count, model);
  const shape = [count, model.embeddingSize];
  return {
    ...EMPTY_ADAPTER,
    parameters: [{ name: PROMPT_EMBEDDINGS, shape, start: normalStart(shape, 1) }],
    encoder: encoderOf(settings, model),
    virtualTokens: count,
    attach: (tensors) => ({ virtualEmbeddings: () => tensors.parameter(PROMPT_EMBEDDINGS) }),
  };
}

const peftSchema = z.looseObject({
  num_virtual_tokens: z.int().positive(),
  encoder_reparameterization_type: z.enum(["MLP", "LSTM"]).default("MLP"),
  encoder_hidden_size: z.int().positive().nullish(),
  encoder_num_layers: z.int().positive().default(2),
});

export const p_tuning: AdapterMethod<PTuningSettings> = {
  schema,
  bind: bindPTuning,
  peft: {
    type: "P_TUNING",
    write({ num_virtual_tokens, encoder_reparameterization_type, encoder_hidden_size, encoder_num_layers, encoder_dropout }, model) {
      const shared = virtualTokenPeftFields(num_virtual_tokens, model, { width: model.embeddingSize, heads: model.heads });
      return { ...shared, encoder_dropout, encoder_hidden_size: encoder_hidden_size ?? model.embeddingSize, encoder_num_layers, encoder_reparameterization_type };
    },
    read(fields) {
      // The encoder's dropout has no effect on what it has given.
      const { num_virtual_tokens, encoder_reparameterization_type, encoder_hidden_size, encoder_num_layers } = fields.parse(peftSchema);
      fields.refuseOthers(SUBMODULES, []);
      return schema.parse({ method: "p_tuning", num_virtual_tokens, encoder_reparameterization_type, encoder_hidden_size: encoder_hidden_size ?? undefined, encoder_num_layers });
    },
  },
};
