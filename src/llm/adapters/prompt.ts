/** Prompt tuning (Lester et al. 2021): the embeddings of n virtual tokens that stand in front of every example. */
import { z } from "zod";
import { FedtuneError } from "../../core/base/errors.ts";
import type { ArchitectureModel } from "../architectures/architecture.ts";
import type { AdapterMethod, BoundAdapter, ParameterSpec, StartSources } from "./adapter.ts";
import { normalStart } from "./starts.ts";
import { EMPTY_ADAPTER, PROMPT_EMBEDDINGS, SUBMODULES, requireRoom, virtualTokenFields, virtualTokenPeftFields } from "./virtual-tokens.ts";

const schema = z.strictObject({
  method: z.literal("prompt").describe("adapter method"),
  init: z.enum(["random", "vocabulary", "text"]).default("random").describe("what virtual tokens start from: normal numbers, embeddings of drawn tokens, or those of init_text"),
  init_text: z.string().min(1).optional().describe("text that virtual tokens start from, repeated or cut to their number; with init: text"),
  ...virtualTokenFields,
});
type PromptSettings = z.infer<typeof schema>;

/** The embeddings `[n, D]` of token ids, as the model sees them. */
function embeddingsOf(ids: ArrayLike<number>, from: StartSources, { embedding, embeddingSize, embeddingScale = 1, vocabSize }: ArchitectureModel): Float32Array {
  const table = from.base(embedding);
  const out = new Float32Array(ids.length * embeddingSize);
  for (const [i, id] of Array.from(ids).entries()) {
    if (id >= vocabSize) throw new FedtuneError("model", { where: "adapter.init_text", expected: `tokens that the model's ${vocabSize} embeddings have`, got: `id ${id}`, remedy: "Tokenizer and weights are of different models" });
    out.set(table.subarray(id * embeddingSize, (id + 1) * embeddingSize).map((x) => x * embeddingScale), i * embeddingSize);
  }
  return out;
}

/** The start of the virtual tokens. Throws FedtuneError("config") for settings that contradict each other, or a text without tokens. */
function startOf({ init, init_text: text, num_virtual_tokens: count }: PromptSettings, model: ArchitectureModel): ParameterSpec["start"] {
  if ((init === "text") !== (text !== undefined)) {
    throw new FedtuneError("config", { where: "adapter.init_text", expected: init === "text" ? "the text that virtual tokens start from" : `no text with init: ${init}`, got: text === undefined ? "none" : JSON.stringify(text), remedy: "Set both init: text and init_text, or neither" });
  }
  if (init === "random") return normalStart([count, model.embeddingSize], 1);
  if (init === "vocabulary") return (from) => embeddingsOf(from.uniforms(count).map((u) => Math.floor(u * model.vocabSize)), from, model);
  return (from) => {
    const ids = from.tokenize(text ?? "");
    if (ids.length === 0) throw new FedtuneError("config", { where: "adapter.init_text", expected: "a text of at least one token", got: JSON.stringify(text), remedy: "Give some text" });
    return embeddingsOf(Int32Array.from({ length: count }, (_, i) => ids[i % ids.length] ?? 0), from, model);
  };
}

function bindPrompt(settings: PromptSettings, model: ArchitectureModel): BoundAdapter {
  const count = settings.num_virtual_tokens;
  requireRoom(count, model);
  return {
    ...EMPTY_ADAPTER,
    parameters: [{ name: PROMPT_EMBEDDINGS, shape: [count, model.embeddingSize], start: startOf(settings, model) }],
    virtualTokens: count,
    attach: (tensors) => ({ virtualEmbeddings: () => tensors.parameter(PROMPT_EMBEDDINGS) }),
  };
}

/** PEFT's names of what virtual tokens start from. */
const INITS = { random: "RANDOM", vocabulary: "SAMPLE_VOCAB", text: "TEXT" } as const;
const peftSchema = z.looseObject({
  num_virtual_tokens: z.int().positive(),
  prompt_tuning_init: z.enum(["RANDOM", "SAMPLE_VOCAB", "TEXT"]).default("RANDOM"),
  prompt_tuning_init_text: z.string().nullish(),
});

export const prompt: AdapterMethod<PromptSettings> = {
  schema,
  bind: bindPrompt,
  peft: {
    type: "PROMPT_TUNING",
    write: ({ num_virtual_tokens, init, init_text }, model, baseModel) => ({
      ...virtualTokenPeftFields(num_virtual_tokens, model, { width: model.embeddingSize, heads: model.heads }),
      prompt_tuning_init: INITS[init], prompt_tuning_init_text: init_text ?? null,
      // PEFT refuses a text without the name of its tokenizer.
      tokenizer_kwargs: null, tokenizer_name_or_path: init === "text" ? baseModel : null,
    }),
    read(fields) {
      const { num_virtual_tokens, prompt_tuning_init, prompt_tuning_init_text } = fields.parse(peftSchema);
      fields.refuseOthers(SUBMODULES, []);
      const init = ({ RANDOM: "random", SAMPLE_VOCAB: "vocabulary", TEXT: "text" } as const)[prompt_tuning_init];
      return schema.parse({ method: "prompt", num_virtual_tokens, init, ...(init === "text" ? { init_text: prompt_tuning_init_text } : {}) });
    },
  },
};
