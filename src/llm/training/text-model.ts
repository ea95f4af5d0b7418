/** A model for text: continues prompts and holds conversations, with an adapter or without. What the command line and scripts call. */
import { must } from "../../core/base/errors.ts";
import type { NamedTensors } from "../../core/base/tensor.ts";
import { resolveModelFolder } from "../../core/store/hub.ts";
import { readAdapterSettings } from "../adapters/adapter-folder.ts";
import { openArchitecture } from "../architectures/all.ts";
import { createChatTemplate } from "../text/chat-template.ts";
import type { ChatMessage } from "../text/chat-template.ts";
import { createStopFilter } from "../text/stop-filter.ts";
import { createTextStream } from "../text/text-stream.ts";
import { loadTokenizer, requireTokenizerFits } from "../text/tokenizer.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { resolveRuntime } from "./resolve-runtime.ts";
import { runtimeSchema, trainingSchema } from "./settings.ts";
import { NO_EXAMPLES } from "./setup.ts";
import { createTrainer } from "./trainer.ts";
import type { GenerateOptions as SamplingSettings, Trainer } from "./types.ts";

export interface TextOptions extends Omit<SamplingSettings, "stopAtEnd"> {
  /** Folder of a model, or its id on the Hub. */
  readonly model: string;
  readonly revision?: string;
  /** Folder of a PEFT adapter. */
  readonly adapter?: string;
}

export interface GenerateTextOptions extends TextOptions {
  readonly prompt: string;
}

export interface ChatOptions extends TextOptions {
  readonly system?: string;
}

/** Sees each piece of text as it comes; the signal asks to stop. */
export interface TextListener {
  readonly onText?: (piece: string) => void;
  readonly signal?: AbortSignal;
}

export interface GeneratedText {
  /** What was written, without the prompt and without the stop string that ended it. */
  readonly text: string;
  readonly promptTokens: number;
  readonly newTokens: number;
}

/** A conversation of several turns; each answer is remembered. */
export interface ChatSession extends AsyncDisposable {
  send(message: string, listener: TextListener): Promise<GeneratedText>;
  /** Forgets the conversation. */
  reset(): void;
}

interface OpenedText {
  readonly trainer: Trainer;
  readonly tokenizer: Tokenizer;
  /** The adapter's tensors, or nothing: the base. */
  readonly adapter: NamedTensors<"float32"> | undefined;
}

async function openText(options: TextOptions, signal: AbortSignal | undefined): Promise<OpenedText> {
  const { revision, adapter } = options;
  const modelFolder = await resolveModelFolder(options.model, { ...(revision === undefined ? {} : { revision }), ...(signal === undefined ? {} : { signal }) });
  const { vocabSize } = await openArchitecture(modelFolder);
  const tokenizer = loadTokenizer(modelFolder);
  requireTokenizerFits(tokenizer, vocabSize);
  const settings = adapter === undefined ? undefined : { ...readAdapterSettings(adapter), init_from: adapter };
  const trainer = await createTrainer({
    modelFolder, ...(settings === undefined ? {} : { adapter: settings }), inferenceOnly: true, training: trainingSchema.parse({}), runtime: await resolveRuntime(runtimeSchema.parse({}), { hiddenSize: 0, clients: 1, stepTokens: 1 }),
    data: NO_EXAMPLES, packTokens: 1, seed: options.seed,
  });
  try {
    return { trainer, tokenizer, adapter: adapter === undefined ? undefined : await trainer.initialAdapter() };
  } catch (error) {
    await trainer[Symbol.asyncDispose]();
    throw error;
  }
}

async function writeText({ trainer, tokenizer, adapter }: OpenedText, prompt: Int32Array, options: TextOptions, { onText, signal }: TextListener): Promise<GeneratedText> {
  const stream = createTextStream(tokenizer, { prompt, skipSpecialTokens: true });
  const { maxNewTokens, temperature, topK, topP, stop, seed } = options;
  const sampling: SamplingSettings = { maxNewTokens, temperature, topK, topP, stop, seed, stopAtEnd: true };
  const filter = createStopFilter(stop);
  let text = "";
  const show = (piece: string): void => {
    text += piece;
    if (piece !== "") onText?.(piece);
  };
  const onToken = (_row: number, id: number): void => show(filter.push(stream.push(id)));
  const [ids] = await trainer.generate({ prompts: [prompt], options: sampling, ...(adapter === undefined ? {} : { adapter }) }, { onToken, ...(signal === undefined ? {} : { signal }) });
  show(filter.push(stream.finish()));
  show(filter.finish());
  return { text, promptTokens: prompt.length, newTokens: must(ids, "generated ids").length };
}

/**
 * Continues a prompt as it stands; the tokenizer adds what it puts before every text (a bos, say).
 * Throws FedtuneError("model") for a model or adapter that does not fit, ("config") for a prompt that is too long.
 */
export async function generate(options: GenerateTextOptions, listener: TextListener = {}): Promise<GeneratedText> {
  const opened = await openText(options, listener.signal);
  await using _trainer = opened.trainer;
  return await writeText(opened, opened.tokenizer.encode(options.prompt, { addSpecialTokens: true }), options, listener);
}

/** Opens a conversation by the model's chat template. Throws FedtuneError("model") where the model has none. */
export async function openChat(options: ChatOptions): Promise<ChatSession> {
  const opened = await openText(options, undefined);
  const { tokenizer } = opened;
  try {
    const template = createChatTemplate(tokenizer);
    const start: readonly ChatMessage[] = options.system === undefined ? [] : [{ role: "system", content: options.system }];
    let messages = start;
    return {
      async send(message, listener) {
        const asked = [...messages, { role: "user", content: message }];
        const prompt = tokenizer.encode(template.render(asked, { addGenerationPrompt: true }), { addSpecialTokens: false });
        const answer = await writeText(opened, prompt, options, listener);
        messages = [...asked, { role: "assistant", content: answer.text }];
        return answer;
      },
      reset() {
        messages = start;
      },
      [Symbol.asyncDispose]: () => opened.trainer[Symbol.asyncDispose](),
    };
  } catch (error) {
    await opened.trainer[Symbol.asyncDispose]();
    throw error;
  }
}
